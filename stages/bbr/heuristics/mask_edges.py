"""Masks of cells whose edges are those of the photograph, by a guided filter (He et al. 2010).

In each window the mask is fitted as a linear function of the colours, so that its edge moves to
where they change. Boxes stay as they are.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from ..data.opencv import ximgproc
from .components import largest_component

_CELLS = 1.3  # radius of a window: edges may be so far off
_LEVELS = 30.0  # variance of a window, in squared levels of 255, below which it has no edge


def follow_edges(mask: np.ndarray, pixels: np.ndarray, cell: float) -> np.ndarray:
    """The mask with its edges moved to those of the image; as it was where nothing would be left.

    Args:
        mask: (H, W) bool.
        pixels: (H, W, 3) uint8.
        cell: side of the cells that it was made of, in these pixels.

    Returns:
        (H, W) bool.

    Raises:
        InputError: this OpenCV has no guided filter.
    """
    radius = max(1, round(_CELLS * cell))
    cv2.setNumThreads(1)  # results of several threads may differ in the last bit
    soft = ximgproc().guidedFilter(pixels, mask.astype(np.float32), radius, _LEVELS)
    sharp = soft > 0.5
    # One part, as the mask of cells is: what lies apart from it is specks of like colour.
    return largest_component(torch.from_numpy(sharp)[None])[0] if sharp.any() else mask
