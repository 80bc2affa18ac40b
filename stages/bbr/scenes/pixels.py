"""Colour arithmetic on small images, through OpenCV where NumPy's broadcasting is slow."""

from __future__ import annotations

import cv2
import numpy as np


def ramp(field: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A field in [0, 1], (h, w) float32, as colours from `first` to `second`, each (3,) RGB.

    Returns:
        (h, w, 3) float32.
    """
    return cv2.merge([a + field * (b - a) for a, b in zip(first, second, strict=True)])


def in_rgb(field: np.ndarray) -> np.ndarray:
    """A field, (h, w), once per channel: (h, w, 3)."""
    return cv2.cvtColor(field, cv2.COLOR_GRAY2RGB)


def lay_over(image: np.ndarray, colours: np.ndarray, alpha: np.ndarray) -> None:
    """Blend `colours`, (h, w, 3) or (3,), over `image`, (h, w, 3) float32, in place.

    `alpha` is the colours' share, (h, w) float32 in [0, 1].
    """
    image += in_rgb(alpha) * (colours - image)


def mean_rgb(image: np.ndarray) -> np.ndarray:
    """The mean colour of an (h, w, 3) image, (3,) float32."""
    return np.array(cv2.mean(image)[:3], np.float32)
