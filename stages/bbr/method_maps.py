"""What a heuristic looks at, as a map to show: one entry per method (paper, figures 1 and 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import InputError
from .features import FeatureBatch
from .heuristics import DinoSegOptions, LostOptions
from .lost import patch_degrees


def _inverse_degree(batch: FeatureBatch, _: LostOptions) -> np.ndarray:
    """1 / d, each patch counted as a neighbour of itself, so that d is never zero."""
    degrees = patch_degrees(batch.key).double() + 1
    return (1 / degrees).view(-1, *batch.grid).cpu().numpy()


def _attention(batch: FeatureBatch, options: DinoSegOptions) -> np.ndarray:
    if batch.cls_attention is None:
        raise InputError("method dino_seg: these features have no cls_attention; use a transformer")
    return batch.cls_attention[:, options.head].view(-1, *batch.grid).cpu().numpy()


# The object is where a map is high. Each is (B, r, c) of any r and c, and covers the padded image:
# patch_size · grid pixels from the top left corner.
_MAPS: dict[str, Callable[[FeatureBatch, Any], np.ndarray]] = {
    "lost": _inverse_degree,
    "dino_seg": _attention,
}


def method_maps(batch: FeatureBatch, method: str, options: Any) -> np.ndarray:
    """The map by which a heuristic proposes its box, for each image: (B, r, c) float.

    Args:
        options: from `heuristics.heuristic_options`.

    Raises:
        InputError: the method has no map.
    """
    if method not in _MAPS:
        raise InputError(
            f"method {method} has no map to be shown; those that have: {', '.join(_MAPS)}"
        )
    return _MAPS[method](batch, options)
