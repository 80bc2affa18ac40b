"""MOVE from its inpainter to its refined boxes, by command line; numbers mean nothing here."""

import json

import cache_detector_inputs
import extract_features
import import_segmenter
import pretrain_inpainter
import pseudo_boxes
import pytest
import refine_backbone
import torch
import train_segmenter
from safetensors.torch import load_file
from small_runs import (
    ARCHITECTURE,
    ONE_THREAD,
    assert_refused,
    command,
    kill_when_there,
    make_detector,
    make_index,
)

from bbr.backbones.base import SegmenterSpec
from bbr.backbones.build import load_backbone
from bbr.backbones.features_h5 import FeatureFile
from bbr.backbones.masked import MaskHead
from bbr.detector.inputs_h5 import DetectorInputs

F = ["--weights", "random", *ARCHITECTURE]
RESNET = command(discriminator_weights="random", discriminator_architecture="resnet18")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("move")


@pytest.fixture(scope="module")
def index(folder):
    return make_index(folder)


@pytest.fixture(scope="module")
def inpainter(index, folder):
    output = folder / "inpainter.safetensors"
    sizes = command(
        image_size=32,
        patch_size=8,
        dim=16,
        depth=1,
        heads=2,
        decoder_dim=16,
        decoder_depth=1,
        decoder_heads=2,
        steps=2,
        batch_size=4,
        warmup=1,
    )
    options = [*command(index=index, output=output), *sizes, *ONE_THREAD]
    assert pretrain_inpainter.main(options) == 0
    return output


def arguments(index, inpainter, output, *more, **changes):
    chosen = {
        "index": index,
        "inpainter": inpainter,
        "output": output,
        "image_size": 64,
        "upsamplings": 2,
        "min_width": 8,
        "augmentation": "flip_maps",
        "discriminator_size": 32,
        "discriminator_width": 4,
        "steps": 3,
        "batch_size": 4,
        "checkpoint_seconds": 1000,
    } | changes
    return [*command(**chosen), *F, *RESNET, *ONE_THREAD, *more]


@pytest.fixture(scope="module")
def segmenter(index, inpainter, folder):
    output = folder / "segmenter.safetensors"
    assert train_segmenter.main(arguments(index, inpainter, output)) == 0
    return output


def test_f_stays_and_the_head_moves(segmenter, index, inpainter, tmp_path):
    start = tmp_path / "start.safetensors"
    assert train_segmenter.main(arguments(index, inpainter, start, lr=0, steps=1)) == 0
    before, after = load_file(start), load_file(segmenter)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("head.") for name in moved)
    assert not any(name.startswith("features.") for name in moved)
    assert [p.name for p in tmp_path.iterdir()] == ["start.safetensors"]


@pytest.mark.parametrize("augmentation", ["flip_maps", "crop_flip"])
def test_killed_and_resumed_is_unbroken(index, inpainter, tmp_path, capsys, augmentation):
    killed, whole = tmp_path / "killed" / "s.st", tmp_path / "whole.st"
    changes = {"steps": 40, "augmentation": augmentation}
    begun = arguments(index, inpainter, killed, **changes, checkpoint_seconds=0)
    kill_when_there("train_segmenter", begun, ".s.st.checkpoint.pt", killed.parent)
    for output in (killed, whole):
        assert train_segmenter.main(arguments(index, inpainter, output, **changes)) == 0
    assert "resuming after step" in capsys.readouterr().err
    assert killed.read_bytes() == whole.read_bytes()


@pytest.fixture(scope="module")
def boxes(segmenter, index, folder):
    features, output = folder / "features.h5", folder / "boxes.json"
    options = command(index=index, weights=segmenter, output=features)
    assert extract_features.main([*options, *ONE_THREAD]) == 0
    options = command(method="move", features=features, output=output)
    assert pseudo_boxes.main([*options, *ONE_THREAD]) == 0
    return output


def test_masks_in_features_are_those_of_the_network(segmenter, boxes, folder):
    with FeatureFile(folder / "features.h5") as file:
        (batch,) = file.batches(8)
    assert [mask.shape for mask in batch.image_masks] == [(64, 64)] * 8
    assert len(json.loads(boxes.read_text())) == 8
    assert load_backbone(str(segmenter)).spec.segmenter == SegmenterSpec(2, 8)


def test_from_masks_to_a_refined_head(segmenter, boxes, index, folder):
    inputs, h, refined = (folder / name for name in ("inputs.h5", "h.st", "refined.safetensors"))
    options = command(index=index, weights=segmenter, image_size=64, parts="mask", output=inputs)
    assert cache_detector_inputs.main([*options, *ONE_THREAD]) == 0
    with DetectorInputs(inputs) as cached:
        assert (cached.grid, cached.shape) == ((16, 16), (1, 256, 1))
        assert cached.batch(torch.tensor([1])).shape == (1, 1, 256, 1)
    options = command(cell=4, num_boxes=2, augmentation="flip_maps")
    make_detector(inputs, boxes, index, h, *options)
    options = command(
        index=index,
        weights=segmenter,
        detector=h,
        boxes=boxes,
        output=refined,
        image_size=64,
        parts="mask",
        heuristic="move",
        regularize="mask",
        optimizer="adamw",
        beta2=0.95,
        lr_schedule="polynomial",
        steps=2,
        batch_size=4,
        lr=1e-3,
    )
    assert refine_backbone.main([*options, "--reinit-head", *ONE_THREAD]) == 0
    before, after = load_file(segmenter), load_file(refined)
    unmoved = [n for n in before if n.startswith("features.")]
    assert all(torch.equal(before[n], after[n]) for n in unmoved)
    # Fresh: nowhere near where the fixed head stands, even after two small steps.
    weight = "head.model.0.1.weight"
    assert (before[weight] - after[weight]).abs().mean() > 0.01
    assert after["head.model.0.2.num_batches_tracked"] == 2
    # What comes out is a backbone like any other.
    features = folder / "refined.h5"
    options = command(index=index, weights=refined, output=features)
    assert extract_features.main([*options, *ONE_THREAD]) == 0


def test_a_published_checkpoint_is_imported(index, tmp_path):
    head = MaskHead(32, SegmenterSpec(2, 8)).state_dict()
    tensors = {f"segmenter.segmenter_head.{name}": t for name, t in head.items()}
    tensors |= {f"segmenter.feature_extractor.norm.{k}": torch.ones(32) for k in ("weight", "bias")}
    torch.save({"model": tensors}, tmp_path / "move.pth")
    output = tmp_path / "s.safetensors"
    options = command(checkpoint=tmp_path / "move.pth", output=output)
    assert import_segmenter.main([*options, *F]) == 0
    loaded = load_backbone(str(output))
    assert all(torch.equal(t, loaded.head.state_dict()[k]) for k, t in head.items())


def test_a_backbone_without_masks_is_refused(index, tmp_path, capsys):
    output = tmp_path / "inputs.h5"
    options = [*command(index=index, image_size=64, parts="mask", output=output), *F]
    status = cache_detector_inputs.main([*options, *ONE_THREAD])
    assert_refused(status, capsys.readouterr().err, "parts mask: this backbone gives no", output)


def test_a_segmenter_is_no_f(index, inpainter, segmenter, tmp_path, capsys):
    output = tmp_path / "s.st"
    options = command(index=index, inpainter=inpainter, weights=segmenter, output=output)
    status = train_segmenter.main([*options, *RESNET, *ONE_THREAD])
    assert_refused(status, capsys.readouterr().err, "is a segmenter already", output)
