"""Which weights and options a job's network has."""

from __future__ import annotations

import os

from small_configuration import small_configuration
from support.plans import backbones

CONFIG = small_configuration()


def test_weights_are_given_made_or_of_a_library() -> None:
    names = ("vit", "cnn", "move", "vit+a.lost.no_reg.1")
    assert {name: backbones.weights_file(CONFIG, name) for name in names} == {
        "vit": "data/vit.safetensors",
        "cnn": [],
        "move": "results/resources/move.safetensors",
        "vit+a.lost.no_reg.1": "results/a/vit/lost/no_reg/seed1/refined.safetensors",
    }
    assert backbones.checkpoint_file(CONFIG, "move") == os.path.expanduser("~/move.pt")
    assert backbones.of_checkpoints(CONFIG) == "move"


def test_options_name_no_file() -> None:
    names = ("vit", "cnn", "move", "vit+a.lost.no_reg.1")
    assert {name: backbones.backbone_options(CONFIG, name) for name in names} == {
        "vit": "",
        "cnn": "--weights timm --architecture resnet",
        "move": "",  # its file says what it is
        "vit+a.lost.no_reg.1": "",
    }
    assert backbones.given_options(CONFIG, "move") == "--weights timm"
    config = small_configuration()
    config["backbones"]["cnn"]["detector_inputs"] = {"image_size": 373}  # of h, not of f
    assert backbones.given_options(config, "cnn") == "--weights timm --architecture resnet"
    assert (backbones.initial_seed(CONFIG, "wild"), backbones.initial_seed(CONFIG, "vit")) == (
        "--seed 5",
        "",
    )
