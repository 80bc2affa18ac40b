"""pretrain_backbone.py on the command line."""

import json

import pretrain_backbone
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small_runs import (
    ARCHITECTURE,
    ONE_THREAD,
    assert_refused,
    command,
    kill_when_there,
    make_index,
    make_inputs,
)

from bbr.backbones.build import load_backbone
from bbr.storage.json_files import read_json


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("data"))


def arguments(index, output, architecture=ARCHITECTURE, **changes):
    chosen = {
        "index": index,
        "output": output,
        "image_size": 64,
        "steps": 3,
        "batch_size": 4,
        "warmup": 2,
        "checkpoint_seconds": 1000,
        "crop_size": 64,
        "local_size": 32,
        "local_crops": 1,
        "prototypes": 32,
        "momentum": 0.99,
    }
    return [*command(**(chosen | changes)), *architecture, *ONE_THREAD]


def pretrain(index, output, **changes):
    assert pretrain_backbone.main(arguments(index, output, **changes)) == 0
    return output


def test_same_bytes_each_time_and_nothing_else_left(index, tmp_path):
    first, second = tmp_path / "a" / "f.safetensors", tmp_path / "b" / "f.safetensors"
    for output, seconds in ((first, 0), (second, 1000)):
        pretrain(index, output, checkpoint_seconds=seconds)
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["f.safetensors"]


def test_seed_counts(index, tmp_path):
    weights = [
        load_file(pretrain(index, tmp_path / f"{seed}.st", seed=seed))["norm.weight"]
        for seed in (0, 1)
    ]
    assert not torch.equal(*weights)


def test_output_is_a_backbone_for_the_other_stages(index, tmp_path):
    output = pretrain(index, tmp_path / "f.safetensors")
    backbone = load_backbone(str(output))
    assert backbone.spec.normalization == "center"
    assert (backbone.dim, backbone.depth, backbone.stride) == (32, 2, 16)
    # A later --weights replaces the tiny random backbone's.
    own = ["--weights", str(output), "--normalization", "none"]
    assert make_inputs(index, tmp_path / "inputs.h5", *own).is_file()


def test_annotations_are_not_read(index, tmp_path):
    """Weights of an index with other annotations differ in their provenance alone."""
    content = read_json(index)
    content["info"]["image_root"] = str(index.parent / content["info"]["image_root"])
    content["annotations"] = content["annotations"][:1]
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(content))
    with_boxes, without = (
        load_file(pretrain(path, tmp_path / f"{path.stem}.st")) for path in (index, bare)
    )
    assert all(torch.equal(tensor, without[name]) for name, tensor in with_boxes.items())


def test_teacher_is_written(index, tmp_path):
    """After few steps the moving average still lies near the start, where the student left it."""
    start = pretrain(index, tmp_path / "start.st", steps=1, lr=0)
    moved = pretrain(index, tmp_path / "moved.st", steps=3, lr=1e-2)
    before, after = load_file(start), load_file(moved)
    change = max((after[name] - before[name]).abs().max() for name in before)
    # Three AdamW steps of at most 0.01 (the gradient decays nothing faster), averaged at 0.99.
    assert 0 < change < 3 * 0.01 * 0.05


def test_killed_and_resumed_is_unbroken(index, tmp_path, capsys):
    killed, whole = tmp_path / "killed" / "f.st", tmp_path / "whole.st"
    long = {"steps": 60, "lr_schedule": "cosine"}
    begun = arguments(index, killed, **long, checkpoint_seconds=0)
    kill_when_there("pretrain_backbone", begun, ".f.st.checkpoint.pt", killed.parent)
    assert not killed.exists()
    pretrain(index, killed, **long)
    assert "resuming after step" in capsys.readouterr().err
    assert killed.read_bytes() == pretrain(index, whole, **long).read_bytes()
    assert [path.name for path in killed.parent.iterdir()] == ["f.st"]


def test_checkpoint_of_another_run_is_not_taken_up(index, tmp_path, capsys):
    killed, fresh = tmp_path / "killed" / "f.st", tmp_path / "fresh.st"
    begun = arguments(index, killed, steps=60, checkpoint_seconds=0)
    kill_when_there("pretrain_backbone", begun, ".f.st.checkpoint.pt", killed.parent)
    pretrain(index, killed, steps=5)
    assert "checkpoint of another run ignored" in capsys.readouterr().err
    assert killed.read_bytes() == pretrain(index, fresh, steps=5).read_bytes()


def test_provenance(index, tmp_path):
    with safe_open(pretrain(index, tmp_path / "f.st"), framework="pt") as handle:
        metadata = handle.metadata()
    provenance = json.loads(metadata["provenance"])
    assert provenance["stage"] == "pretrain_backbone"
    assert provenance["parameters"]["schedule"]["steps"] == 3
    assert provenance["inputs"].keys() == {"index"}
    assert str(index.parent) not in json.dumps(metadata)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": ["--architecture", "resnet18"]}, "resnet18 is not a vision transformer"),
        ({"architecture": ["--architecture", "vit_of_mine"]}, "not one of timm's models"),
        ({"crop_size": 60}, "--crop-size 60 is not a multiple of the patch size, 16"),
        ({"index": "none.json"}, r"none\.json: (cannot be read|No such file)"),
    ],
)
def test_bad_input_is_one_line(index, tmp_path, capsys, changes, message):
    output = tmp_path / "f.st"
    status = pretrain_backbone.main(arguments(**({"index": index, "output": output} | changes)))
    assert_refused(status, capsys.readouterr().err, message, output)


def test_output_that_cannot_be_written(index, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status = pretrain_backbone.main(arguments(index, tmp_path / "file" / "f.st", steps=1))
    assert status == 1
    assert "cannot make its folder" in capsys.readouterr().err
