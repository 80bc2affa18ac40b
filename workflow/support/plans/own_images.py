"""What is shown of the user's own photographs, results/mine."""

from __future__ import annotations

import sys
from typing import Any

from ..configuration import MINE
from ..given_files import optional_file
from ..sections import Config
from . import datasets


def boxes(config: Config) -> dict[str, Any]:
    """The index and the boxes of the photographs.

    Raises:
        SystemExit: they are not named; that ends the run with the line that says so.
    """
    _need(config, "results/mine needs your photographs: add --config images=PATH, their folder")
    folder = f"results/{MINE}/{config['backbone']}/{config['method']}"
    return {**datasets.files(config, MINE), **_boxes(folder)}


def exported(config: Config) -> dict[str, Any]:
    """The index and the boxes of the photographs as `results/mine` has them, and names of classes.

    Raises:
        SystemExit: the photographs are not named.
    """
    _need(config, "results/mine/export needs your photographs: add --config images=PATH")
    names = optional_file(config["class_names"])
    found = {"index": datasets.files(config, MINE)["index"], **_boxes(f"results/{MINE}")}
    return {**found, "names": names} if names else found


def phrases(config: Config) -> dict[str, Any]:
    """The index, heatmaps and boxes of the photographs and phrases.

    Raises:
        SystemExit: one of the two is not named.
    """
    _need(
        config,
        "results/mine/grounding.json needs your photographs and what to look for in them: add"
        " --config images=PATH phrases=PATH, a text file of phrases, one a line",
        "phrases",
    )
    maps = f"results/{MINE}/grounding/g.{config['grounding']['own']}"
    index = datasets.files(config, MINE)["index"]
    return {"index": index, "heatmaps": f"{maps}/heatmaps.h5", **_boxes(maps)}


def descriptions(config: Config) -> dict[str, Any]:
    """What was found in the photographs.

    Raises:
        SystemExit: they are not named.
    """
    _need(config, "results/mine/descriptions needs your photographs: add --config images=PATH")
    folder = f"results/{MINE}/wwbl"
    maps = f"{folder}/g.{config['grounding']['own']}"
    return {
        "descriptions": f"{folder}/descriptions.json",
        "images": datasets.images(config, MINE),
        "heatmaps": f"{maps}/heatmaps.h5",
        **_boxes(maps),
    }


def _boxes(folder: str) -> dict[str, str]:
    return {"boxes": f"{folder}/boxes.json", "meta": f"{folder}/boxes.meta.json"}


def _need(config: Config, message: str, *keys: str) -> None:
    if any(config[key] is None for key in ("images", *keys)):
        sys.exit(message)
