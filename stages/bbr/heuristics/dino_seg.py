"""DINO-seg (Caron et al. 2021; as LOST's paper evaluates it): a box from [CLS] attention."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .components import largest_component, mask_boxes


def attention_masks(
    attention: Tensor, grid: tuple[int, int], attention_mass: float = 0.6
) -> Tensor:
    """The fewest patches that together hold at least `attention_mass` of one head's attention.

    Args:
        attention: (B, N), non-negative; need not sum to 1.
        grid: (h, w) with h·w = N.
        attention_mass: fraction of the attention to keep, in (0, 1].

    Returns:
        (B, h, w) bool, at least one patch each.
    """
    ascending, order = attention.double().sort(dim=1, stable=True)
    share = ascending.cumsum(dim=1) / ascending.sum(dim=1, keepdim=True)
    keep = share > 1 - attention_mass
    keep[:, -1] = True
    return torch.zeros_like(keep).scatter_(1, order, keep).view(len(keep), *grid)


def dino_seg_boxes(
    attention: Tensor, grid: tuple[int, int], attention_mass: float = 0.6
) -> np.ndarray:
    """The box of the largest 4-connected component of `attention_masks`, in patches.

    Returns:
        (B, 4) x1 y1 x2 y2, right and bottom exclusive.
    """
    return mask_boxes(largest_component(attention_masks(attention, grid, attention_mass)))
