"""What h and CAD are trained by."""

from __future__ import annotations

from small_configuration import small_configuration
from support.plans import detectors

CONFIG = small_configuration()


def test_a_method_with_inputs_of_its_own_has_a_file_of_its_own() -> None:
    folder = "results/a/vit/detector_inputs"
    assert detectors.inputs_file(CONFIG, "a", "vit", "lost") == f"{folder}/default.h5"
    assert detectors.inputs_file(CONFIG, "a", "vit", "cut") == f"{folder}/cut.h5"
    assert detectors.inputs_section(CONFIG, "vit", "default")["parts"] == "k"
    assert detectors.inputs_section(CONFIG, "vit", "cut")["parts"] == "mask"
    assert detectors.map_options(CONFIG, "vit", "cut") == "--image-size 64 --parts mask"


def test_a_backbone_says_how_large_h_s_images_are() -> None:
    config = small_configuration()
    config["backbones"]["vit"]["detector_inputs"] = {"image_size": 373}
    assert detectors.map_options(config, "vit", "cut") == "--image-size 373 --parts mask"
    assert detectors.inputs_section(config, "vit", "default")["image_size"] == 373


def test_the_trunk_is_an_input_and_the_rest_are_options() -> None:
    assert detectors.init_file(CONFIG, "lost", "k1") == "data/trunk.safetensors"
    assert detectors.training_options(CONFIG, "lost", "k1") == ("--num-boxes 1 --l1-weight 5")
    assert detectors.refinement_devices(CONFIG, "vit", "lost", "k1") == 1


def test_a_backbone_has_a_rate_of_its_own() -> None:
    config = small_configuration()
    assert "--lr" not in detectors.refinement_options(config, "vit", "lost", "k1")
    config["backbones"]["vit"]["refinement"] = {"lr": 3e-5, "devices": 2}
    assert "--lr 3e-05" in detectors.refinement_options(config, "vit", "lost", "k1")
    assert "--lr" not in detectors.refinement_options(config, "cnn", "lost", "k1")
    assert detectors.refinement_devices(config, "vit", "lost", "k1") == 2


def test_cad_has_thresholds_by_dataset() -> None:
    own = detectors.cad_prediction_options(CONFIG, "b")
    assert own == "--max-boxes 9 --score-threshold 0.05"
    usual = detectors.cad_prediction_options(CONFIG, "a")
    assert usual == "--max-boxes 9 --score-threshold 0.01"


def test_cad_has_steps_by_dataset() -> None:
    assert detectors.cad_init_file(CONFIG) == []
    assert detectors.cad_options(CONFIG, "a") == "--init efficientnet_lite0 --steps 7"
    assert detectors.cad_options(CONFIG, "b") == "--init efficientnet_lite0 --steps 30"
