"""What a heuristic looks at, as a map to show: one entry per method (paper, figures 1 and 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backbones.feature_maps import FeatureMaps
from ..errors import InputError
from .found import background_similarity
from .lost import patch_degrees
from .maskcut import maskcut_vectors
from .most import orderliness
from .registry import (
    DinoSegOptions,
    FoundOptions,
    LostOptions,
    MaskcutOptions,
    MostOptions,
    MoveOptions,
    TokencutOptions,
    cls_attention,
    move_masks,
)
from .tokencut import tokencut_vectors


def _inverse_degree(batch: FeatureMaps, _: LostOptions) -> np.ndarray:
    """1 / d, each patch counted as a neighbour of itself, so that d is never zero."""
    degrees = patch_degrees(batch.key).double() + 1
    return (1 / degrees).view(-1, *batch.grid).cpu().numpy()


def _eigenvector(batch: FeatureMaps, options: TokencutOptions) -> np.ndarray:
    return tokencut_vectors(batch.key, batch.grid, options.threshold, options.epsilon)


def _maskcut(batch: FeatureMaps, options: MaskcutOptions) -> np.ndarray:
    return maskcut_vectors(batch.key, batch.grid, options.threshold, options.epsilon)


def _orderliness(batch: FeatureMaps, options: MostOptions) -> np.ndarray:
    return orderliness(batch.key, batch.grid, options.threshold, options.scales)


def _mask(batch: FeatureMaps, _: MoveOptions) -> list[np.ndarray]:
    return move_masks(batch)


def _attention(batch: FeatureMaps, options: DinoSegOptions) -> np.ndarray:
    attention = cls_attention(batch, "dino_seg")
    return attention[:, options.head].view(-1, *batch.grid).cpu().numpy()


def _unlike_background(batch: FeatureMaps, _: FoundOptions) -> np.ndarray:
    similarity = background_similarity(batch.key, cls_attention(batch, "found"))
    return (1 - similarity).view(-1, *batch.grid).cpu().numpy()


# What a map covers: all patches, those of the padding too; or the image.
PATCHES, IMAGE = "patches", "image"

# Each gives one array (r, c) for each image, high where the object is, and says what they cover.
_MAPS: dict[str, tuple[Callable[[FeatureMaps, Any], np.ndarray | list[np.ndarray]], str]] = {
    "lost": (_inverse_degree, PATCHES),
    "tokencut": (_eigenvector, PATCHES),
    "move": (_mask, IMAGE),
    "dino_seg": (_attention, PATCHES),
    "found": (_unlike_background, PATCHES),
    "most": (_orderliness, PATCHES),
    "maskcut": (_maskcut, PATCHES),
}


@dataclass(frozen=True)
class MethodMap:
    """(r, c) values, and the (height, width) in image pixels that they cover from the top left."""

    values: np.ndarray
    covered: tuple[float, float]


def method_maps(batch: FeatureMaps, method: str, options: Any) -> list[MethodMap]:
    """The map by which a heuristic proposes its box, for each image.

    Args:
        options: from `registry.heuristic_options`.

    Raises:
        InputError: the method has no map, or needs what these features lack.
    """
    if method not in _MAPS:
        raise InputError(
            f"method {method} has no map to be shown; those that have: {', '.join(_MAPS)}"
        )
    function, covers = _MAPS[method]
    padded = (batch.grid[0] * batch.patch_size, batch.grid[1] * batch.patch_size)
    return [
        MethodMap(values, padded if covers == PATCHES else (float(size[0]), float(size[1])))
        for values, size in zip(function(batch, options), batch.sizes, strict=True)
    ]
