"""train_detector.py on the command line."""

import json
import shutil

import pytest
import torch
import train_detector
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_runs import (
    BACKBONE,
    ONE_THREAD,
    assert_refused,
    command,
    kill_when_there,
    make_boxes,
    make_index,
    make_inputs,
)
from torchvision import models


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight scenes, their boxes, and what h reads of them."""
    folder = tmp_path_factory.mktemp("data")
    index = make_index(folder)
    files = {"index": index, "boxes": make_boxes(index, folder / "boxes.json")}
    return files | {"inputs": make_inputs(index, folder / "inputs.h5")}


def options(data, output, **changes):
    chosen = data | {
        "output": output,
        "network": "attention",
        "layout": "spatial",
        "width": 8,
        "num_boxes": 3,
        "steps": 4,
        "batch_size": 4,
        "lr": 1e-3,
        "checkpoint_seconds": 0,
    }
    return [*command(**(chosen | changes)), *ONE_THREAD]


def train(data, output, *more, **changes):
    status = train_detector.main([*options(data, output, **changes), *more])
    assert status == 0
    return output


def test_same_bytes_each_time_and_nothing_else_left(data, tmp_path):
    first, second = train(data, tmp_path / "a" / "h.st"), train(data, tmp_path / "b" / "h.st")
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["h.st"]


def test_seed_and_every_hyperparameter_count(data, tmp_path):
    changes = [
        {},
        {"seed": 1},
        {"lr": 2e-3},
        {"steps": 5},
        {"batch_size": 5},
        {"num_boxes": 4},
        {"weight_decay": 0.1},
        {"warmup": 2},
        {"lr_schedule": "cosine"},
        {"giou_weight": 1},
        {"no_object_weight": 0.5},
        {"augmentation": "flip_maps"},
        {"channel_dropout": 0.5},
    ]
    weights = [
        load_file(train(data, tmp_path / f"{i}.st", **change))["sides.weight"].tolist()
        for i, change in enumerate(changes)
    ]
    assert len({json.dumps(weight) for weight in weights}) == len(changes)


@pytest.mark.parametrize(
    ("network", "layout"),
    [("attention", "spatial"), ("resnet18", "spatial"), ("resnet18", "qkv_image")],
)
def test_networks_and_layouts(data, tmp_path, network, layout):
    output = train(data, tmp_path / "h.st", network=network, layout=layout, steps=2)
    with safe_open(output, framework="pt") as handle:
        metadata = handle.metadata()
    spec = json.loads(metadata["detector"])
    channels = 96 if layout == "spatial" else 3
    assert spec == {
        "network": network,
        "layout": layout,
        "channels": channels,
        "num_boxes": 3,
        "width": 8,
        "cell": 1,
    }
    provenance = json.loads(metadata["provenance"])
    assert provenance["stage"] == "train_detector"
    assert sorted(provenance["inputs"]) == ["boxes", "index", "inputs"]
    assert str(tmp_path) not in json.dumps(metadata)


def test_h_learns_its_targets(data, tmp_path, capsys):
    train(data, tmp_path / "h.st", steps=251, lr=5e-3, batch_size=8, checkpoint_seconds=1000)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    losses = [float(line.split("total ")[1].split()[0]) for line in lines]
    assert len(losses) == 6
    # Eight boxes learnt by heart; a constant box would stay at 0.5 to 0.8 of the first loss.
    assert losses[-1] < 0.35 * losses[0]


def test_starts_from_pretrained_weights(data, tmp_path):
    torch.manual_seed(3)
    tensors = models.resnet18(weights=None).state_dict()
    save_file(tensors, tmp_path / "resnet.st")
    resnet = {"network": "resnet18", "layout": "qkv_image", "steps": 1, "lr": 0, "warmup": 1}
    given = load_file(train(data, tmp_path / "h.st", init=tmp_path / "resnet.st", **resnet))
    assert torch.equal(given["network.layer4.1.conv2.weight"], tensors["layer4.1.conv2.weight"])
    assert given["network.fc.weight"].shape == (18, 512)


@pytest.mark.parametrize("augmentation", ["flip_maps", "crop_flip"])
def test_killed_and_resumed_is_unbroken(data, tmp_path, capsys, augmentation):
    long = {"steps": 100, "augmentation": augmentation, "channel_dropout": 0.3}
    killed, whole = tmp_path / "killed" / "h.st", tmp_path / "whole.st"
    arguments = [*options(data, killed, **long), *BACKBONE]
    kill_when_there("train_detector", arguments, ".h.st.checkpoint.pt", killed.parent)
    assert not killed.exists()
    rarely = long | {"checkpoint_seconds": 1000}
    train(data, killed, *BACKBONE, **rarely)
    assert "resuming after step" in capsys.readouterr().err
    train(data, whole, *BACKBONE, **rarely)
    assert killed.read_bytes() == whole.read_bytes()
    assert [path.name for path in killed.parent.iterdir()] == ["h.st"]


@pytest.mark.parametrize("augmentation", ["crop_flip", "native_crop_flip"])
def test_augmented_images_of_f(data, tmp_path, augmentation):
    chosen = {"augmentation": augmentation, "steps": 3}
    first = train(data, tmp_path / "a.st", *BACKBONE, **chosen)
    assert first.read_bytes() == train(data, tmp_path / "b.st", *BACKBONE, **chosen).read_bytes()
    plain = load_file(train(data, tmp_path / "c.st", steps=3))["sides.weight"]
    assert not torch.equal(load_file(first)["sides.weight"], plain)


@pytest.fixture
def other_index(tmp_path):
    return make_index(tmp_path / "other", count=3)


def damaged(path, folder):
    copy = folder / path.name
    shutil.copy(path, copy)
    copy.write_bytes(copy.read_bytes()[:-1000])
    return copy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_boxes": 0}, "--num-boxes 0 is not at least 1"),
        ({"network": "vgg"}, "'vgg' is unknown"),
        ({"layout": "qkv_image"}, "attention reads layout spatial only"),
        ({"network": "resnet18", "layout": "qkv_image", "augmentation": "flip_maps"}, "flip_maps"),
        ({"augmentation": "crop_flip"}, "add --weights"),
        ({"inputs": "none.h5"}, "none.h5: no such file"),
        ({"boxes": "none.json"}, "none.json: cannot be read"),
        ({"index": "none.json"}, "none.json: cannot be read"),
        ({"init": "none.st"}, "only a ResNet"),
        ({"init": "none.st", "network": "resnet18"}, "none.st: no such file"),
        ({"attention_mass": 0.5}, "method lost has no option 'attention_mass'"),
        ({"k_patches": 0}, "k_patches is 0"),
    ],
)
def test_bad_option_is_one_line(data, tmp_path, capsys, changes, message):
    status = train_detector.main(options(data, tmp_path / "h.st", **changes))
    assert_refused(status, capsys.readouterr().err, message, tmp_path / "h.st")


def test_boxes_of_unknown_images(data, tmp_path, capsys):
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([{"image_id": 99, "bbox": [0, 0, 9, 9], "score": 1}]))
    status = train_detector.main(options(data | {"boxes": boxes}, tmp_path / "h.st"))
    assert_refused(status, capsys.readouterr().err, "does not have .*99", tmp_path / "h.st")


def test_inputs_of_another_index(data, tmp_path, other_index, capsys):
    boxes = make_boxes(other_index, tmp_path / "boxes.json")
    mixed = data | {"index": other_index, "boxes": boxes}
    status = train_detector.main(options(mixed, tmp_path / "h.st"))
    assert_refused(status, capsys.readouterr().err, "of other images than", tmp_path / "h.st")


def test_truncated_inputs(data, tmp_path, capsys):
    inputs = damaged(data["inputs"], tmp_path)
    status = train_detector.main(options(data | {"inputs": inputs}, tmp_path / "h.st"))
    assert_refused(status, capsys.readouterr().err, "truncated or damaged", tmp_path / "h.st")


def test_output_that_cannot_be_written(data, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "h.st"
    status = train_detector.main(options(data, output, checkpoint_seconds=1000))
    assert status == 1
    assert "cannot make its folder" in capsys.readouterr().err
