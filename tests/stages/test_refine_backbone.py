"""refine_backbone.py on the command line."""

import json
import re

import pytest
import refine_backbone
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small_runs import (
    ONE_THREAD,
    assert_refused,
    command,
    disagreement,
    kill_when_there,
    make_chain,
    make_detector,
    make_inputs,
    run_script,
)

from bbr.backbones.build import load_backbone
from bbr.refinement import batches
from bbr.storage.json_files import read_json


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_chain(tmp_path_factory.mktemp("data"))


def arguments(data, output, **changes):
    chosen = data | {
        "output": output,
        "image_size": 64,
        "k_patches": 5,
        "steps": 4,
        "batch_size": 4,
        "lr": 1e-3,
        "checkpoint_seconds": 1000,
    }
    return [*command(**(chosen | changes)), *ONE_THREAD]


def refine(data, output, **changes):
    assert refine_backbone.main(arguments(data, output, **changes)) == 0
    return output


def moved(data, output):
    """Names of the tensors of f that f^h changed."""
    before, after = load_file(data["weights"]), load_file(output)
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_same_bytes_each_time_and_nothing_else_left(data, tmp_path):
    first, second = tmp_path / "a" / "f.st", tmp_path / "b" / "f.st"
    for output, seconds in ((first, 0), (second, 1000)):
        refine(data, output, checkpoint_seconds=seconds)
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["f.st"]


def test_every_choice_counts(data, tmp_path):
    """Choices that make a difference to the weights, and so are really used."""
    changes = [
        {},
        {"seed": 1},
        {"targets": "current"},
        {"targets": "h"},
        {"regularize": "cls"},
        {"regularize": "keys"},
        {"regularize": "none"},
        {"regularize_weight": 9},
        {"trainable_blocks": 1},
        {"augmentation": "crop_flip"},
        {"lr": 2e-3},
        {"warmup": 3},
        {"weight_decay": 0.5},
        {"l1_weight": 1},
        {"targets": "current", "k_patches": 9},
        {"augmentation": "crop_flip", "targets": "current"},
        {"precision": "bf16"},
        {"channel_dropout": 0.5},
    ]
    weights = set()
    for number, change in enumerate(changes):
        tensors = load_file(refine(data, tmp_path / f"{number}.st", **change))
        weights.add(tuple(tensors["blocks.1.attn.qkv.weight"][:, 0].tolist()))
    assert len(weights) == len(changes)


@pytest.mark.parametrize("blocks", [0, 1])
def test_only_the_trained_blocks_move(data, tmp_path, blocks):
    names = moved(data, refine(data, tmp_path / "f.st", trainable_blocks=blocks))
    expected = ("blocks.1.", "norm.") if blocks else ("blocks.0.", "blocks.1.", "norm.")
    assert {name.split(".")[0] for name in names} == {"blocks", "norm"}
    assert all(name.startswith(expected) for name in names)
    assert any(name.startswith(expected[0]) for name in names)


def test_f_h_is_a_backbone_like_any_other(data, tmp_path):
    output = refine(data, tmp_path / "f.st")
    assert load_backbone(str(output)).spec == load_backbone(str(data["weights"])).spec
    inputs = make_inputs(data["index"], tmp_path / "inputs.h5", "--weights", str(output))
    assert inputs.is_file()
    with safe_open(output, framework="pt") as handle:
        provenance = json.loads(handle.metadata()["provenance"])
    assert provenance["inputs"].keys() == {"index", "weights", "boxes", "detector"}
    assert str(tmp_path.parent) not in json.dumps(provenance)


# What is the same mathematically differs by the order of float32 sums. After 6 Adam steps such
# runs ended within 0.01 % of the way they went, and another seed's run at 90 % of it or more.
NEAR = 0.002


@pytest.mark.parametrize(
    "drawn",
    [
        {"channel_dropout": 0.5},
        {"augmentation": "crop_flip"},
        {"augmentation": "native_crop_flip"},
        {},
    ],
)
def test_accumulated_parts_are_one_batch(data, tmp_path, drawn):
    """Every image has one target, so that parts of equal size weigh the same in every term."""
    chosen = drawn | {"steps": 6, "weight_decay": 0}
    whole = refine(data, tmp_path / "1.st", **chosen)
    start = load_file(data["weights"])
    for parts in (2, 4):
        output = refine(data, tmp_path / f"{parts}.st", grad_accum_steps=parts, **chosen)
        assert disagreement(whole, output, start) < NEAR
    other = refine(data, tmp_path / "other.st", seed=1, **chosen)
    assert disagreement(whole, other, start) > 0.5


@pytest.mark.parametrize("targets", ["f", "h", "current"])
def test_with_and_without_what_is_kept_of_f(data, tmp_path, monkeypatch, targets):
    chosen = {"steps": 6, "trainable_blocks": 1, "targets": targets}
    kept = refine(data, tmp_path / "kept.st", **chosen)
    monkeypatch.setattr(batches, "_KEPT_BYTES", 0)
    anew = refine(data, tmp_path / "anew.st", **chosen)
    assert disagreement(kept, anew, load_file(data["weights"])) < NEAR


@pytest.mark.parametrize(
    ("augmentation", "select", "rounds"),
    [
        ("none", "last", 2),
        ("crop_flip", "last", 1),
        ("crop_flip", "agreement", 1),
        ("none", "agreement", 2),
    ],
)
def test_killed_and_resumed_is_unbroken(data, tmp_path, capsys, augmentation, select, rounds):
    killed, whole = tmp_path / "killed" / "f.st", tmp_path / "whole.st"
    long = {
        "steps": 60,
        "augmentation": augmentation,
        "channel_dropout": 0.3,
        "lr_schedule": "cosine",
        "targets": "current",
        "select": select,
        "select_every": 2,
        "select_fraction": 0.3,
        "select_min_agreement": 0,
        "rounds": rounds,
        "detector_steps": 3,
    }
    begun = arguments(data, killed, **long, checkpoint_seconds=0)
    kill_when_there("refine_backbone", begun, ".f.st.checkpoint.pt", killed.parent)
    assert not killed.exists()
    refine(data, killed, **long)
    assert "resuming after step" in capsys.readouterr().err
    assert killed.read_bytes() == refine(data, whole, **long).read_bytes()
    assert [path.name for path in killed.parent.iterdir()] == ["f.st"]


def selected(output):
    """What the provenance says of the state that is kept."""
    with safe_open(output, framework="pt") as handle:
        return json.loads(handle.metadata()["provenance"])["selected"]


def agreements(text):
    """What the log says: agreement by steps taken."""
    found = re.findall(r"agreement with h after (\d+) steps: (\S+)", text)
    return {int(step): float(value) for step, value in found}


def test_the_state_of_best_agreement_is_kept(data, tmp_path, capsys):
    """A run as long as the kept state is old ends with the same weights."""
    chosen = {
        "select": "agreement",
        "select_every": 1,
        "select_fraction": 0.4,
        "lr": 3e-3,
        "select_min_agreement": 0,
    }
    output = refine(data, tmp_path / "f.st", steps=12, **chosen)
    seen = agreements(capsys.readouterr().err)
    assert list(seen) == list(range(13))
    best = max(range(1, 13), key=seen.get)
    assert 0 < best < 12, "this test needs a run whose last state is not the best"
    kept = selected(output)
    assert kept == {
        "step": best,
        "agreement": pytest.approx(seen[best], abs=1e-4),
        "agreement_of_f": pytest.approx(seen[0], abs=1e-4),
    }
    # A single look, at the end.
    short = refine(data, tmp_path / "g.st", steps=best, **(chosen | {"select_every": 99}))
    assert list(agreements(capsys.readouterr().err)) == [0, best]
    first, second = load_file(output), load_file(short)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_rounds_end_where_they_lead_no_nearer(data, tmp_path, capsys):
    """f^h that does not move is as near to h as f, and no second round brings it nearer."""
    chosen = {
        "select": "agreement",
        "select_every": 1,
        "select_min_agreement": 0,
        "lr": 0,
        "steps": 2,
        "rounds": 4,
        "detector_steps": 1,
    }
    output = refine(data, tmp_path / "f.st", **chosen)
    told = capsys.readouterr().err
    assert list(agreements(told)) == [0, 1, 2, 4, 5]
    assert told.count("it is the last round") == 1
    assert "refinement steps of f^h: 5 of 11" not in told
    assert not moved(data, output)
    assert selected(output)["step"] == 1


def test_f_is_kept_where_h_and_the_heuristic_agree_too_little(data, tmp_path, capsys):
    """Whatever f^h would have been, the output has f's weights, and says so."""
    chosen = {"select": "agreement", "select_min_agreement": 0.999, "lr": 3e-3}
    output = refine(data, tmp_path / "f.st", **chosen)
    told = capsys.readouterr().err
    assert told.count("f is kept") == 1
    assert "refinement steps" not in told  # none is taken in vain
    assert not moved(data, output)
    kept = selected(output)
    assert (kept["step"], kept["agreement"]) == (0, None)


def test_a_surrogate_is_taught_through_in_h_s_place(data, tmp_path):
    """With targets of f, h itself then has no part in f^h; with targets of h it has."""
    inputs = make_inputs(data["index"], tmp_path / "i.h5", "--weights", str(data["weights"]))
    other = make_detector(inputs, data["boxes"], data["index"], tmp_path / "o.st", "--seed", "5")
    through_other = refine(data, tmp_path / "1.st", surrogate=other)
    instead = refine(data | {"detector": other}, tmp_path / "2.st")
    first, second = load_file(through_other), load_file(instead)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    asked = [
        refine(data | {"detector": h}, tmp_path / f"{h.stem}.st", surrogate=other, targets="h")
        for h in (data["detector"], other)
    ]
    assert moved({"weights": asked[0]}, asked[1])


@pytest.mark.parametrize(
    "more",
    [
        {"steps": 6},
        {"steps": 2, "rounds": 2, "detector_steps": 2, "lr": 3e-3, "targets": "current"},
    ],
)
def test_two_processes_are_one(data, tmp_path, more):
    """Half of each batch in either process, gradients averaged between them."""
    chosen = {"device": "cpu", "weight_decay": 0, **more}
    alone, both = refine(data, tmp_path / "1.st", **chosen), tmp_path / "2.st"
    done = run_script("refine_backbone", arguments(data, both, devices=2, **chosen))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("refinement steps of f^h: 6 of 6") == 1
    assert disagreement(alone, both, load_file(data["weights"])) < NEAR


@pytest.mark.slow
def test_error_in_another_process_is_one_line(data, tmp_path):
    content = read_json(data["index"])
    content["info"]["image_root"] = str(tmp_path)
    index = tmp_path / "index.json"
    index.write_text(json.dumps(content))
    output = tmp_path / "f.st"
    moved_images = arguments(data | {"index": index}, output, devices=2, device="cpu")
    done = run_script("refine_backbone", moved_images)
    assert_refused(done.returncode, done.stderr, r"\.jpg: no such file", output)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainable_blocks": 3}, "the backbone has 2 blocks"),
        ({"grad_accum_steps": 3}, "must be divisible by --grad-accum-steps 3"),
        ({"devices": 3}, "divisible by --devices 3"),
        ({"select": "agreement", "select_fraction": 1}, r"select-fraction.* in \(0, 1\)"),
        ({"select": "agreement", "select_fraction": 0.95}, "leaves none to train on"),
        ({"parts": "k"}, "maps give 32 channels, but h was trained on 96"),
        ({"weights": "none.st"}, "none.st: no such file"),
        ({"detector": "none.st"}, "none.st: no such file"),
        ({"boxes": "none.json"}, r"none\.json: (cannot be read|No such file)"),
        ({"heuristic": "center", "k_patches": 5}, "method center has no option 'k_patches'"),
        ({"architecture": "vit_tiny_patch16_224"}, "do not fit architecture vit_tiny_patch16_224"),
    ],
)
def test_bad_option_is_one_line(data, tmp_path, capsys, changes, message):
    status = refine_backbone.main(arguments(data, tmp_path / "f.st", **changes))
    assert_refused(status, capsys.readouterr().err, message, tmp_path / "f.st")


def test_files_in_each_other_s_place(data, tmp_path, capsys):
    for changes, message in [
        ({"detector": data["weights"]}, "holds no detector"),
        ({"weights": data["detector"]}, "add --architecture"),
        ({"boxes": data["index"]}, "not COCO results"),
    ]:
        status = refine_backbone.main(arguments(data | changes, tmp_path / "f.st"))
        assert_refused(status, capsys.readouterr().err, message, tmp_path / "f.st")


def test_boxes_of_unknown_images(data, tmp_path, capsys):
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([{"image_id": 99, "bbox": [0, 0, 9, 9], "score": 1}]))
    status = refine_backbone.main(arguments(data | {"boxes": boxes}, tmp_path / "f.st"))
    assert_refused(status, capsys.readouterr().err, "does not have .*99", tmp_path / "f.st")


def test_output_that_cannot_be_written(data, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status = refine_backbone.main(arguments(data, tmp_path / "file" / "f.st", steps=1))
    assert status == 1
    assert "cannot make its folder" in capsys.readouterr().err
