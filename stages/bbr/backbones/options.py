"""Which backbone f is, as a stage is told."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..command_line.devices import seed_everything
from ..command_line.fast_import import large_imports
from ..errors import InputError
from ..options import option
from .base import FACETS, NORMALIZATIONS, PACKAGED, Backbone

_NOT_FILES = ("timm", "random", *PACKAGED)


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


@dataclass(frozen=True)
class BackboneOptions:
    """Which backbone f is: its weights, and what overrides the specification in their file."""

    weights: str = option(help=f"f: a .safetensors file, or {', '.join(_NOT_FILES)}")
    architecture: str | None = option(None, "a timm model [the weights file's]")
    architecture_args: dict[str, Any] | None = option(
        None, "JSON of overrides for timm.create_model", parse=parse_arguments
    )
    normalization: str | None = option(
        None, "of each image's features [the weights file's]", choices=NORMALIZATIONS
    )
    scale: float | None = option(None, "resize images by this factor first [1]", above=0)
    facet: str | None = option(
        None,
        "what heuristics read of a transformer's block [the weights file's; key_without_bias; of"
        " DINO's key]",
        choices=FACETS,
    )
    block: int | None = option(None, "of which block; -1: the last [the weights file's; -1]")

    @property
    def file(self) -> Path | None:
        """The weights file, or None where the weights come from elsewhere."""
        return weights_file(self.weights)

    def recorded(self, backbone: Backbone) -> dict[str, Any]:
        """What the provenance says, with the facet and the block that are read, given or not.

        A file is there by its digest, wherever it lies.
        """
        read = {"facet": backbone.spec.facet, "block": backbone.spec.block}
        return vars(self) | read | ({} if self.file is None else {"weights": "file"})

    def load(self, seed: int = 0) -> Backbone:
        """The backbone in evaluation mode; a random one is initialised from `seed`."""
        with large_imports():  # timm; a stage may have these options and no use for f
            from .build import load_backbone

        seed_everything(seed)
        return load_backbone(
            self.weights if self.file is None else str(self.file),
            self.architecture,
            self.architecture_args,
            self.normalization,
            self.scale,
            self.facet,
            self.block,
        )
