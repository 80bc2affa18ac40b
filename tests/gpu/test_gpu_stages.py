"""The stages on 24 scenes with --device cuda: from images to f^h and CAD, through files only."""

import json

import cache_detector_inputs
import extract_features
import predict_cad
import pseudo_boxes
import pytest
import refine_backbone
import torch
import train_cad
import train_detector
from gpu_device import DEVICE, ON_GPU
from safetensors import safe_open
from safetensors.torch import load_file
from small_runs import BACKBONE, command, make_index

from bbr.backbones.features_h5 import FeatureFile
from bbr.command_line.devices import device_name
from bbr.storage.boxes_json import read_boxes

pytestmark = ON_GPU

SCENES = 24


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("scenes"), count=SCENES)


# At TokenCut's own threshold all patches of a random network are alike: any cut is then right.
OPTIONS = {"lost": [], "tokencut": ["--threshold", "0.5"], "dino_seg": ["--head", "1"]}


def boxes_of(features, output, method="lost", device=DEVICE):
    options = command(method=method, features=features, output=output, device=device)
    assert pseudo_boxes.main([*options, *OPTIONS[method]]) == 0
    return output


@pytest.fixture(scope="module", params=["fp32", "tf32", "bf16"])
def results(request, index, tmp_path_factory):
    """Every stage's output by name."""
    folder = tmp_path_factory.mktemp(request.param)
    on = {"device": DEVICE, "precision": request.param}
    training = {"steps": 6, "batch_size": 8, "lr": 1e-3, **on}
    f, h, cad = folder / "features.h5", folder / "h.st", folder / "cad.st"
    inputs, refined, found = folder / "inputs.h5", folder / "refined.st", folder / "cad.json"
    assert extract_features.main([*command(index=index, output=f, **on), *BACKBONE]) == 0
    boxes = boxes_of(f, folder / "boxes.json")
    cached = command(index=index, image_size=64, output=inputs, **on)
    assert cache_detector_inputs.main([*cached, *BACKBONE]) == 0
    assert (
        train_detector.main(
            command(
                index=index,
                inputs=inputs,
                boxes=boxes,
                output=h,
                network="resnet18",
                layout="qkv_image",
                num_boxes=3,
                **training,
            )
        )
        == 0
    )
    for name, more in (("plain", {}), ("augmented", {"augmentation": "crop_flip"})):
        options = command(
            index=index,
            detector=h,
            boxes=boxes,
            output=refined.with_name(f"{name}.st"),
            image_size=64,
            **training,
            **more,
        )
        assert refine_backbone.main([*options, *BACKBONE]) == 0
    again = ["--weights", str(folder / "plain.st")]
    again_features = folder / "again.h5"
    assert extract_features.main([*command(index=index, output=again_features, **on), *again]) == 0
    assert (
        train_cad.main(
            [
                *command(
                    index=index,
                    boxes=boxes,
                    output=cad,
                    network="tf_efficientnet_lite0",
                    map_level=2,
                    frozen_levels=1,
                    roi_size=4,
                    train_sizes=64,
                    rpn_batch=16,
                    roi_batch=4,
                    **training,
                ),
                "--anchor-sizes",
                "16",
                "32",
                "--train-proposals",
                "50",
                "8",
            ]
        )
        == 0
    )
    assert (
        predict_cad.main(
            [
                *command(
                    cad=cad,
                    index=index,
                    output=found,
                    test_size=64,
                    device=DEVICE,
                ),
                "--test-proposals",
                "100",
                "20",
            ]
        )
        == 0
    )
    return {
        "folder": folder,
        "features": f,
        "again": again_features,
        "boxes": boxes,
        "h": h,
        "plain": folder / "plain.st",
        "augmented": folder / "augmented.st",
        "cad": cad,
        "found": found,
    }


def test_every_image_has_a_box(results):
    assert len(read_boxes(results["boxes"])) == SCENES
    assert {record["image_id"] for record in read_boxes(results["found"])} <= set(range(1000))


@pytest.mark.parametrize("name", ["h", "plain", "augmented", "cad"])
def test_weights_are_finite_and_say_where_they_were_made(results, name):
    assert all(torch.isfinite(t).all() for t in load_file(results[name]).values())
    with safe_open(results[name], framework="pt") as handle:
        provenance = json.loads(handle.metadata()["provenance"])
    assert provenance["device"] == device_name(torch.device(DEVICE))


def test_the_backbone_has_moved_and_is_read_like_another(results):
    with FeatureFile(results["features"]) as before, FeatureFile(results["again"]) as after:
        first, second = (next(file.batches(SCENES)).key for file in (before, after))
    assert torch.isfinite(second).all()
    assert not torch.equal(first, second)


@pytest.mark.parametrize("method", ["lost", "tokencut", "dino_seg"])
def test_boxes_of_the_same_file_are_the_cpu_s(results, method, tmp_path):
    """Few patches and float16 features: no degree or threshold comes as near a tie as rounding."""
    there = boxes_of(results["features"], tmp_path / "there.json", method)
    here = boxes_of(results["features"], tmp_path / "here.json", method, device="cpu")
    assert read_boxes(there) == read_boxes(here)
