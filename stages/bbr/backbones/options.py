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
from .base import FACETS, NORMALIZATIONS, PACKAGED, Backbone

_NAMES = (
    "weights",
    "architecture",
    "architecture_args",
    "normalization",
    "scale",
    "facet",
    "block",
)
_NOT_FILES = ("timm", "random", *PACKAGED)


def add_backbone_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add --weights and what may override the specification in the weights file."""
    parser.add_argument(
        "--weights",
        required=required,
        help=f"f: a .safetensors file, or {', '.join(_NOT_FILES)}",
    )
    parser.add_argument("--architecture", help="a timm model [the weights file's]")
    parser.add_argument(
        "--architecture-args", type=parse_arguments, help="JSON of overrides for timm.create_model"
    )
    parser.add_argument(
        "--normalization",
        choices=NORMALIZATIONS,
        help="of each image's features [the weights file's]",
    )
    parser.add_argument("--scale", type=float, help="resize images by this factor first [1]")
    parser.add_argument(
        "--facet",
        choices=FACETS,
        help="what heuristics read of a transformer's block [the weights file's;"
        " key_without_bias; of DINO's key]",
    )
    parser.add_argument(
        "--block", type=int, help="of which block; -1: the last [the weights file's; -1]"
    )


def take_backbone(options: dict[str, Any], seed: int = 0) -> tuple[Backbone, dict[str, Any]]:
    """Pop the backbone options out of parsed options and build the backbone.

    Args:
        seed: what a random backbone is initialised from.

    Returns:
        The backbone in evaluation mode, and the parameters for the provenance record, with the
        facet and the block that are read, whether they were given or not.
    """
    with large_imports():  # timm; a stage may have these options and no use for f
        from .build import load_backbone

    given = {name: options.pop(name, None) for name in _NAMES}
    seed_everything(seed)
    file = weights_file(given["weights"])
    backbone = load_backbone(
        given["weights"] if file is None else str(file),
        given["architecture"],
        given["architecture_args"],
        given["normalization"],
        given["scale"],
        given["facet"],
        given["block"],
    )
    # A file is recorded by its digest among the inputs, so that its place does not matter.
    recorded = dict(given) if file is None else dict(given, weights="file")
    recorded |= {"facet": backbone.spec.facet, "block": backbone.spec.block}
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
