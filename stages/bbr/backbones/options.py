"""The command-line options by which a stage is told which backbone to use."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from ..command_line.devices import seed_everything
from ..command_line.fast_import import large_imports
from ..errors import InputError
from .base import NORMALIZATIONS, Backbone

_NAMES = ("weights", "architecture", "architecture_args", "normalization", "scale")
_NOT_FILES = ("timm", "random", "efficientnet_lite0")


def add_backbone_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add --weights and what may override the specification in the weights file."""
    parser.add_argument(
        "--weights", required=required,
        help="f: a .safetensors file, or timm, random, efficientnet_lite0",
    )  # fmt: skip
    parser.add_argument("--architecture", help="a timm model [the weights file's]")
    parser.add_argument("--architecture-args", type=parse_arguments,
                        help="JSON of overrides for timm.create_model")  # fmt: skip
    parser.add_argument("--normalization", choices=NORMALIZATIONS,
                        help="of each image's features [the weights file's]")  # fmt: skip
    parser.add_argument("--scale", type=float, help="resize images by this factor first [1]")


def take_backbone(options: dict[str, Any], seed: int = 0) -> tuple[Backbone, dict[str, Any]]:
    """Pop the backbone options out of parsed options and build the backbone.

    Args:
        seed: what a random backbone is initialised from.

    Returns:
        The backbone in evaluation mode, and the parameters for the provenance record.
    """
    with large_imports():  # timm; a stage may have these options and no use for f
        from .build import load_backbone

    given = {name: options.pop(name) for name in _NAMES}
    seed_everything(seed)
    file = weights_file(given["weights"])
    backbone = load_backbone(
        given["weights"] if file is None else str(file),
        given["architecture"],
        given["architecture_args"],
        given["normalization"],
        given["scale"],
    )
    # A file is recorded by its digest among the inputs, so that its place does not matter.
    recorded = dict(given) if file is None else dict(given, weights="file")
    return backbone, recorded


def weights_file(weights: str) -> Path | None:
    """The path in --weights, or None where it names a source instead."""
    return None if weights in _NOT_FILES else Path(os.path.expanduser(weights))


def parse_arguments(text: str) -> dict[str, Any]:
    """`--architecture-args`: a JSON object.

    Raises:
        InputError: it is not one.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"--architecture-args {text!r} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"--architecture-args {text!r} is not a JSON object")
    return value
