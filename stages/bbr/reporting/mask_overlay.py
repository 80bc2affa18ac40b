"""Masks over photographs."""

from __future__ import annotations

import numpy as np

from ..errors import InputError


def tint(image: np.ndarray, mask: np.ndarray, colour: str) -> np.ndarray:
    """An image with a mask's pixels half in one colour.

    Args:
        image: (H, W, 3) uint8, RGB.
        mask: (H, W) bool.
        colour: as "#D55E00".

    Raises:
        InputError: the two are of different sizes.
    """
    if mask.shape != image.shape[:2]:
        raise InputError(
            f"a mask of {mask.shape[1]}×{mask.shape[0]} pixels is not of an image of"
            f" {image.shape[1]}×{image.shape[0]}; make the boxes again"
        )
    tinted = image.copy()
    paint = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    tinted[mask] = (0.5 * image[mask] + 0.5 * paint).astype(np.uint8)
    return tinted
