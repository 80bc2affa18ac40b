"""Masks of objects as annotation files have them, as run lengths in the upright image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import InputError
from ...storage.rle import Rle, decode_mask, encode_mask

# A mask of the stored image in the upright one, by EXIF's orientation; `frames` has points.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda mask: mask,
    2: np.fliplr,
    3: lambda mask: np.rot90(mask, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda mask: np.rot90(mask, -1),
    7: lambda mask: np.rot90(mask, 2).T,
    8: np.rot90,
}


def read_mask(segmentation: Any, size: tuple[int, int], orientation: int = 1) -> Rle | None:
    """COCO's polygons or run lengths as run lengths of the upright image.

    Args:
        segmentation: [[x, y, x, y, ...], ...], or {"size", "counts"} with counts as a list or a
            text.
        size: (height, width) of the image that it was drawn on.
        orientation: EXIF's, by which that image is turned.

    Returns:
        None where there is no mask of that size to read.
    """
    try:
        if isinstance(segmentation, dict):
            pixels = _of_runs(segmentation["counts"], segmentation["size"], size)
        else:
            pixels = _of_polygons(segmentation, size)
    except (InputError, LookupError, TypeError, ValueError):
        return None
    return encode_mask(_TURNS[orientation](pixels)) if pixels.any() else None


def _of_runs(counts: Any, stated: Any, size: tuple[int, int]) -> np.ndarray:
    """(height, width) bool.

    Raises:
        InputError, TypeError, ValueError: they are not of a mask of that size.
    """
    if tuple(stated) != size:
        raise ValueError("another size")
    if isinstance(counts, str):
        return decode_mask({"size": list(size), "counts": counts})
    # Column by column, the first run of zeros.
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size[::-1]).T


def _of_polygons(polygons: Any, size: tuple[int, int]) -> np.ndarray:
    """(height, width) bool.

    Raises:
        TypeError, ValueError: they are not lists of the coordinates of three points or more.
    """
    from pycocotools import mask as coco

    outlines = [[float(value) for value in polygon] for polygon in polygons]
    if not outlines or any(len(each) < 6 or len(each) % 2 for each in outlines):
        raise ValueError("no polygons")
    if not all(math.isfinite(value) for each in outlines for value in each):
        raise ValueError("a coordinate that is no number")
    return coco.decode(coco.merge(coco.frPyObjects(outlines, *size))).astype(bool)
