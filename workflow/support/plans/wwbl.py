"""What each job of "what is where by looking" reads, and by which options.

Captions are found once for a dataset, whatever g locates them afterwards.
"""

from __future__ import annotations

import os

from ..command_line import options
from ..given_files import given_file
from ..sections import Config
from .grounding import clip_section


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
    section = {**config["captioning"], "captioner": None} if named else config["captioning"]
    return options(section, clip_section(config))
