"""Heuristics with every choice of their options: which of them are tried, and the boxes of each."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backbones.base import FACETS
from ..backbones.feature_maps import FeatureMaps
from ..errors import InputError
from ..options import option
from .registry import heuristic_options, propose_boxes


@dataclass(frozen=True)
class Setting:
    """A heuristic with options.

    Attributes:
        options: from `registry.heuristic_options`.
        name: those that are given in words, as `threshold=0.2`; "defaults" where none is.
    """

    method: str
    options: Any
    name: str


def parse_methods(text: str) -> dict[str, dict[str, list[float]]]:
    """`--methods`: a JSON object of methods, of each its options, of each a list of numbers.

    Raises:
        InputError: it is not one.
    """
    example = """such as '{"tokencut": {"threshold": [0.1, 0.2]}, "found": {}}'"""
    try:
        value = json.loads(text)
        tried = [each for some in value.values() for numbers in some.values() for each in numbers]
        if not all(type(each) in (int, float) for each in tried):
            raise ValueError("a value is no number")
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"--methods: no JSON object of methods ({error}); {example}") from error
    return value


@dataclass(frozen=True)
class SweepOptions:
    """What is swept."""

    methods: dict[str, dict[str, list[float]]] = option(
        help="JSON of heuristics, their options, and the values of each", parse=parse_methods
    )
    facets: tuple[str, ...] = option(FACETS, "of a block", choices=FACETS)
    blocks: tuple[int, ...] = option((-1,), "-1 is the last, 0 the first")

    def settings(self) -> list[Setting]:
        """Each heuristic with each choice of its options.

        Raises:
            InputError: one is unknown, or a value is out of range.
        """
        return [
            _setting(method, dict(zip(options, values, strict=True)))
            for method, options in self.methods.items()
            for values in itertools.product(*options.values())
        ]


def _setting(method: str, given: dict[str, float]) -> Setting:
    name = " ".join(f"{key}={value:g}" for key, value in given.items())
    return Setting(method, heuristic_options(method, given), name or "defaults")


def boxes_of_settings(batch: FeatureMaps, settings: list[Setting]) -> np.ndarray:
    """The box of each image by each setting: (B, settings, 4) float64 xyxy in image pixels."""
    boxes = [propose_boxes(batch, each.method, each.options) for each in settings]
    return np.stack(boxes, axis=1)
