"""What each job of "what is where by looking" reads, and by which options.

Captions are found once for a dataset, whatever g locates them afterwards.
"""

from __future__ import annotations

import os

from ..command_line import options
from ..given_files import given_file, without
from ..sections import Config
from .grounding import clip_section, target_options

_NOT_OF_REGIONS = ("map_size", "undescribed")


def captioner_files(config: Config) -> dict[str, str | list[str]]:
    """The captioner's weights: a file, or the one in a folder; nothing where a hub has them."""
    given = given_file(config["captioning"]["captioner"])
    if given.endswith(".safetensors"):
        return {"captioner": given}
    inside = [os.path.join(given, name) for name in ("model.safetensors", "pytorch_model.bin")]
    return {"captioner_weights": [file for file in inside if os.path.isfile(file)][:1]}


def captioning_options(config: Config) -> str:
    """How images are described, but for a file of weights."""
    named = "captioner" in captioner_files(config)
    section = without(config["captioning"], *_NOT_OF_REGIONS)
    return options({**section, "captioner": None} if named else section, clip_section(config))


def heatmap_options(config: Config) -> str:
    """Options of captions' heatmaps: those of phrases', but as captioning has them."""
    section, sizes = config["captioning"], config["grounding"]["heatmaps"]
    if section["map_size"] is not None:
        sizes = {**sizes, "image_size": section["map_size"], "size": section["map_size"]}
    return options(clip_section(config), sizes, {"bare": section["bare_captions"]})


def match_options(config: Config) -> str:
    """Options of matching captions to phrases."""
    bare = {"bare_captions": config["captioning"]["bare_captions"]}
    return options(clip_section(config), bare)


def score_options(config: Config) -> str:
    """Options of captions' scores: those of phrases', and what is made of images without one."""
    undescribed = {"undescribed": config["captioning"]["undescribed"]}
    return f"{target_options(config)} {options(undescribed)}"
