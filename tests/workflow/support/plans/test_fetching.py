"""Which weights are fetched or made anew."""

from __future__ import annotations

from small_configuration import small_configuration
from support.plans import embedded_weights, fetching


def test_all_files_below_data_weights_however_deep() -> None:
    config = {"a": {"b": ["data/weights/x", 3]}, "c": "data/weights/x", "d": "data/y"}
    assert fetching.all_weights(config) == ["data/weights/x"]


def test_an_entry_of_the_registry_and_its_file() -> None:
    config = small_configuration()
    file = fetching.WEIGHTS["dino_vits16"]
    assert fetching.entry(file) == "dino_vits16"
    assert fetching.local_file(config, file) == []
    config["local_weights"] = {"dino_vits16": "mine.pth"}
    assert fetching.local_file(config, file) == "mine.pth"


def test_embedded_weights() -> None:
    config = small_configuration()
    assert embedded_weights.training_options(config, "segmenter") == "--steps 2"
    made = "results/resources/scenes_inpainter.safetensors"
    assert embedded_weights.inpainter_file(config) == made
