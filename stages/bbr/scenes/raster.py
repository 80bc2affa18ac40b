"""Anti-aliased polygons with sub-pixel corners."""

from __future__ import annotations

import cv2
import numpy as np

FRACTION_BITS = 4  # corners are given to OpenCV in 1/16 pixels


def to_fixed(points: np.ndarray) -> np.ndarray:
    """Corners in pixels, (n, 2), as OpenCV's fixed-point int32.

    Whole numbers are pixel centres for OpenCV; here, as in boxes, they are pixel borders.
    """
    return np.round((points - 0.5) * 2**FRACTION_BITS).astype(np.int32)


def fill(cover: np.ndarray, outline: np.ndarray) -> None:
    """Fill a fixed-point outline with 255 on `cover`, (h, w) uint8, in place."""
    cv2.fillPoly(cover, [outline], 255, cv2.LINE_AA, FRACTION_BITS)


def stroke(cover: np.ndarray, outline: np.ndarray, closed: bool, thickness: int) -> None:
    """Draw along a fixed-point outline with 255 on `cover`, (h, w) uint8, in place."""
    cv2.polylines(cover, [outline], closed, 255, thickness, cv2.LINE_AA, FRACTION_BITS)


def bounds(outline: np.ndarray, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a canvas of `shape` that an outline may touch."""
    x, y, width, height = cv2.boundingRect(outline)
    one = 2**FRACTION_BITS
    top, left = max(y // one - 1, 0), max(x // one - 1, 0)
    bottom, right = min((y + height) // one + 3, shape[0]), min((x + width) // one + 3, shape[1])
    return slice(top, bottom), slice(left, right)
