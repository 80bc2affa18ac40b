"""MaskCut (Wang et al. 2023, CutLER): one object after the other by cuts of what is left.

Section 3.2 of the paper: TokenCut's graph at a lower threshold, in which patches of the objects
before are like none; and the object is the side of the cut with the entry of largest |y|, unless
that side holds three or more corners of the image. What paper and published code say differently is
in docs/protocol.md#maskcut. The conditional random field that they then sharpen masks with is not
part of it: it reads pixels, and boxes of patches go on to h.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .components import mask_boxes
from .tokencut import tokencut_masks, tokencut_vectors

CORNERS = 3  # on one side: it is the background


def maskcut_masks(
    features: Tensor,
    grid: tuple[int, int],
    threshold: float = 0.15,
    epsilon: float = 1e-5,
    found: Tensor | None = None,
) -> np.ndarray:
    """The next object of each image: (B, h, w) bool, 4-connected.

    See `tokencut_masks` for the arguments; `found` has the objects of the rounds before.
    """
    return tokencut_masks(features, grid, threshold, epsilon, found, CORNERS)


def maskcut_boxes(
    features: Tensor, grid: tuple[int, int], threshold: float = 0.15, epsilon: float = 1e-5
) -> np.ndarray:
    """The box of the first round's mask, in patches: (B, 4) x1 y1 x2 y2, right and bottom
    exclusive."""
    return mask_boxes(maskcut_masks(features, grid, threshold, epsilon))


def maskcut_vectors(
    features: Tensor, grid: tuple[int, int], threshold: float = 0.15, epsilon: float = 1e-5
) -> np.ndarray:
    """The first round's eigenvector: (B, h, w) float64, positive on the object's side."""
    return tokencut_vectors(features, grid, threshold, epsilon, CORNERS)
