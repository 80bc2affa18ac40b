"""What the rules that propose boxes read: f's features, shard by shard, or the images alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..artifacts import PIXELS
from ..command_line import options
from ..configuration import MINE
from ..given_files import optional_file, without
from ..references import LAYER
from ..sections import Config, heuristic
from . import datasets
from .datasets import of_shards

WITH_MASKS = ("lost", "tokencut", "found", "most", "maskcut", "move")  # of the heuristics


def feature_files(config: Config, dataset: str, backbone: str) -> list[str]:
    """The features of all shards of a dataset."""
    return of_shards(config, dataset, f"results/{dataset}/{backbone}/features/{{shard}}.h5")


def second_features(config: Config, dataset: str, backbone: str, method: str) -> list[str]:
    """The features of the other layer that a method reads, or nothing."""
    layer = heuristic(config, backbone, method).get(LAYER)
    return [] if layer is None else feature_files(config, dataset, layer)


def boxes_of_shards(
    config: Config, dataset: str, backbone: str, method: str
) -> dict[str, list[str]]:
    """The boxes of all shards of a dataset, and what lies beside them."""
    folder = f"results/{dataset}/{backbone}/{method}"
    boxes = of_shards(config, dataset, f"{folder}/shards/{{shard}}.json")
    return {"shards": boxes, "meta": meta_files(boxes)}


def meta_files(boxes: Iterable[str]) -> list[str]:
    """What lies beside boxes: the images that were skipped, and a digest of the boxes."""
    return [str(Path(file).with_suffix(".meta.json")) for file in boxes]


def edge_model(config: Config, method: str) -> str | list[str]:
    """The file of a method's model of edges, or nothing."""
    return optional_file(heuristic(config, PIXELS, method).get("model"))


def region_options(config: Config, method: str) -> str:
    """The options of a method on pixels, but for its model."""
    return options(without(heuristic(config, PIXELS, method), "label", "model"))


def amounts(config: Config, dataset: str, method: str) -> str:
    """How many boxes of an image, several of the user's own photographs alone, and their masks."""
    several = config["max_boxes"] if dataset == MINE else 1
    masks = config["masks"] and method in WITH_MASKS
    sharpen = masks and config["sharpen_masks"]
    return options({"max_boxes": several, "masks": masks, "sharpen": sharpen})


def images_of_masks(config: Config, dataset: str, method: str) -> dict[str, Any]:
    """The index and the images whose edges masks are to follow, or nothing."""
    if not (config["masks"] and config["sharpen_masks"] and method in WITH_MASKS):
        return {}
    return datasets.files(config, dataset)
