"""train_cad.py and predict_cad.py on the command line."""

import itertools
import json

import predict_cad
import pytest
import torch
import train_cad
from safetensors import safe_open
from safetensors.torch import load_file
from small_runs import (
    ONE_THREAD,
    assert_refused,
    command,
    make_boxes,
    make_index,
    run_script,
)

from bbr.storage.boxes_json import read_boxes
from bbr.storage.json_files import read_json
from bbr.training.checkpoint import Checkpoint

NETWORK = {"network": "tf_efficientnet_lite0", "map_level": 2, "frozen_levels": 1, "roi_size": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight scenes and their boxes."""
    folder = tmp_path_factory.mktemp("data")
    index = make_index(folder)
    return {"index": index, "boxes": make_boxes(index, folder / "boxes.json")}


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A CAD that has seen the scenes a few times."""
    return train(data, tmp_path_factory.mktemp("cad") / "cad.st", steps=12, lr=0.05)


def options(data, output, **changes):
    chosen = (
        data
        | NETWORK
        | {
            "output": output,
            "train_sizes": 64,
            "rpn_batch": 16,
            "roi_batch": 4,
            "steps": 3,
            "batch_size": 4,
            "lr": 0.01,
            "warmup": 0,
            "checkpoint_seconds": 0,
        }
    )
    lists = ["--anchor-sizes", "16", "32", "--train-proposals", "50", "8"]
    return [*command(**(chosen | changes)), *lists, *ONE_THREAD]


def train(data, output, *more, **changes):
    assert train_cad.main([*options(data, output, **changes), *more]) == 0
    return output


def predict(data, cad, output, **changes):
    chosen = {"cad": cad, "index": data["index"], "output": output, "test_size": 64}
    lists = ["--test-proposals", "100", "20"]
    assert predict_cad.main([*command(**(chosen | changes)), *lists, *ONE_THREAD]) == 0
    return read_boxes(output)


def test_same_bytes_each_time_and_nothing_else_left(data, tmp_path):
    first, second = train(data, tmp_path / "a" / "c.st"), train(data, tmp_path / "b" / "c.st")
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["c.st"]


def test_file_says_what_it_is(data, trained, tmp_path):
    with safe_open(trained, framework="pt") as handle:
        metadata = handle.metadata()
    spec = json.loads(metadata["cad"])
    assert {name: spec[name] for name in NETWORK} == NETWORK
    provenance = json.loads(metadata["provenance"])
    assert provenance["stage"] == "train_cad"
    assert sorted(provenance["inputs"]) == ["boxes", "index"]
    assert str(tmp_path.parent) not in json.dumps(metadata)


def test_seed_and_hyperparameters_count(data, tmp_path):
    changes = [
        {},
        {"seed": 1},
        {"lr": 0.02},
        {"steps": 3},
        {"momentum": 0.5},
        {"weight_decay": 0.1},
        {"max_gradient_norm": 0.01},
        {"roi_batch": 2},
        {"rpn_batch": 8},
        {"train_sizes": 48},
    ]
    name = "roi_heads.box_predictor.bbox_pred.weight"
    weights = [
        load_file(train(data, tmp_path / f"{i}.st", **{"steps": 2, **change}))[name].tolist()
        for i, change in enumerate(changes)
    ]
    assert len({json.dumps(weight) for weight in weights}) == len(changes)


@pytest.mark.parametrize("sizes", [["64"], ["48", "64"]])
def test_interrupted_and_resumed_is_unbroken(data, tmp_path, capsys, monkeypatch, sizes):
    """With what the frozen level makes of the images kept, and with several scales."""
    scales, long = ["--train-sizes", *sizes], {"steps": 6}
    broken, whole = tmp_path / "broken" / "c.st", tmp_path / "whole.st"
    save = Checkpoint.save_when_due

    def save_and_stop(self, step, *state):
        save(self, step, *state)
        if step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save_when_due", save_and_stop)
        assert train_cad.main([*options(data, broken, **long), *scales]) == 130
    assert not broken.exists()
    train(data, broken, *scales, **long)
    assert "resuming after step 3" in capsys.readouterr().err
    train(data, whole, *scales, **long)
    assert broken.read_bytes() == whole.read_bytes()
    assert [path.name for path in broken.parent.iterdir()] == ["c.st"]


def test_precise_statistics_are_all_that_changes(data, tmp_path):
    """Batch norms that are trained, of all levels but the first, and of no weight."""
    plain = load_file(train(data, tmp_path / "plain.st"))
    precise = load_file(train(data, tmp_path / "a.st", precise_norm_batches=2))
    changed = {name for name in plain if not torch.equal(plain[name], precise[name])}
    gathered = ("running_mean", "running_var", "num_batches_tracked")
    assert {name.rpartition(".")[2] for name in changed} == set(gathered)
    trained = {n for n in plain if n.endswith(gathered) and not n.startswith("levels.0.")}
    assert changed == trained
    counts = [precise[name] for name in changed if name.endswith("num_batches_tracked")]
    assert {int(count) for count in counts} == {2}  # those since training are forgotten
    again = train(data, tmp_path / "b.st", precise_norm_batches=2)
    assert again.read_bytes() == (tmp_path / "a.st").read_bytes()
    assert recorded_parameters(tmp_path / "a.st")["precise_norm_batches"] == 2
    assert "precise_norm_batches" not in recorded_parameters(tmp_path / "plain.st")


def recorded_parameters(cad):
    """What a file of CAD says of how it was trained."""
    with safe_open(cad, framework="pt") as handle:
        return json.loads(handle.metadata()["provenance"])["parameters"]


def test_loss_falls(data, tmp_path, capsys):
    train(data, tmp_path / "c.st", steps=51, lr=0.05, batch_size=8, checkpoint_seconds=1000)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    losses = [float(line.split("total ")[1]) for line in lines]
    # Eight boxes, half of the time mirrored; untrained logits alone are worth 2 log 2 = 1.4.
    assert losses[-1] < 0.75 * losses[0]


def test_mixed_precision(data, tmp_path):
    tensors = load_file(train(data, tmp_path / "c.st", "--precision", "bf16"))
    assert {t.dtype for t in tensors.values()} == {torch.float32, torch.int64}
    boxes = predict(data, tmp_path / "c.st", tmp_path / "boxes.json", precision="bf16")
    assert boxes


def test_two_processes(data, tmp_path):
    output = tmp_path / "c.st"
    done = run_script("train_cad", options(data, output, devices=2, device="cpu"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("training steps of CAD: 3 of 3") == 1
    assert predict(data, output, tmp_path / "boxes.json")


def test_all_boxes_best_first(data, trained, tmp_path):
    boxes = predict(data, trained, tmp_path / "boxes.json")
    ids = [box["image_id"] for box in boxes]
    assert ids == sorted(ids)
    assert set(ids) == set(range(1, 9))
    assert len(ids) > 8
    for first, second in itertools.pairwise(boxes):
        assert first["image_id"] != second["image_id"] or first["score"] >= second["score"]
    assert min(box["score"] for box in boxes) > 0.01


def test_boxes_do_not_depend_on_the_batch(data, trained, tmp_path):
    together = predict(data, trained, tmp_path / "a.json", batch_size=8)
    alone = predict(data, trained, tmp_path / "b.json", batch_size=1)
    # Convolutions of other batch sizes add in another order.
    assert len(together) == len(alone)
    for one, other in zip(together, alone, strict=True):
        assert one["image_id"] == other["image_id"]
        assert one["bbox"] == pytest.approx(other["bbox"], abs=0.02)


def test_thresholds(data, trained, tmp_path):
    every = predict(data, trained, tmp_path / "a.json")
    best = predict(data, trained, tmp_path / "b.json", max_boxes=1)
    assert len(best) == 8
    assert [box for box in every if box in best] == best
    assert predict(data, trained, tmp_path / "c.json", score_threshold=1) == []


def test_unreadable_image(data, trained, tmp_path, capsys):
    content = read_json(data["index"])
    content["info"]["image_root"] = str(data["index"].parent / content["info"]["image_root"])
    content["images"][2]["file_name"] = "none.jpg"
    index = tmp_path / "index.json"
    index.write_text(json.dumps(content))
    output = tmp_path / "boxes.json"
    chosen = command(cad=trained, index=index, output=output)
    assert_refused(predict_cad.main(chosen), capsys.readouterr().err, "raise --max-skipped", output)
    boxes = predict({"index": index}, trained, output, max_skipped=1)
    assert {box["image_id"] for box in boxes} == {1, 2, 4, 5, 6, 7, 8}
    skipped = json.loads(output.with_suffix(".meta.json").read_text())["skipped"]
    assert skipped == [{"image_id": 3, "reason": "no such file"}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "vgg"}, "'vgg' is not one of timm's"),
        ({"map_level": 5}, r"--map-level 5 is not in \[1, 4\]"),
        ({"devices": 3}, "must be divisible by --devices 3"),
        ({"init": "none.pth"}, r"none\.pth: no such file"),
        ({"boxes": "none.json"}, r"none\.json: (cannot be read|No such file)"),
    ],
)
def test_bad_option_is_one_line(data, tmp_path, capsys, changes, message):
    status = train_cad.main(options(data, tmp_path / "c.st", **changes))
    assert_refused(status, capsys.readouterr().err, message, tmp_path / "c.st")


def test_another_file_in_its_place(data, trained, tmp_path, capsys):
    output = tmp_path / "boxes.json"
    chosen = command(cad=data["index"], index=data["index"], output=output)
    message = "not a complete safetensors file"
    assert_refused(predict_cad.main(chosen), capsys.readouterr().err, message, output)
