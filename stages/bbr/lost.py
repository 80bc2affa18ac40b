"""LOST (Siméoni et al. 2021): one box per image from patch features, without training.

Paper section 4, equations 12 to 15; details as in the published code (PROTOCOL section 1).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .components import component_at, mask_boxes


def inverse_degree(features: Tensor) -> Tensor:
    """One over the degree of each patch in LOST's graph; what Figure 4 shows.

    Args:
        features: (B, N, d).

    Returns:
        (B, N) float32; a patch without neighbours counts as degree 1.
    """
    return 1 / patch_degrees(features @ features.transpose(1, 2)).clamp_min(1).float()


def patch_degrees(similarity: Tensor) -> Tensor:
    """Number of other patches to which each is positively correlated (equation 13).

    The released code counts A > 0 and leaves out the diagonal; the paper writes ≥ 0. On float
    features the two agree except at exact zeros.

    Args:
        similarity: (B, N, N), inner products.

    Returns:
        (B, N) int64.
    """
    counts = torch.empty(similarity.shape[:2], device=similarity.device)
    # Into one float32 plane used again for every image: on the CPU, summing booleans or fresh
    # memory takes longer than the inner products. Counts are exact up to 2²⁴ patches.
    plane = torch.empty(similarity.shape[1:], device=similarity.device)
    for row, image in enumerate(similarity):
        counts[row] = torch.gt(image, 0, out=plane).sum(dim=1)
    return counts.long() - (similarity.diagonal(dim1=1, dim2=2) > 0).long()


def lost_masks(features: Tensor, grid: tuple[int, int], lowest: int = 100) -> np.ndarray:
    """LOST's object mask of each image of a batch with one patch grid.

    Args:
        features: (B, N, d) float32, N = h·w patches in row-major order.
        grid: (h, w).
        lowest: how many patches of lowest degree may join the seed (the paper's a).

    Returns:
        (B, h, w) bool; each mask is 4-connected and holds the seed.
    """
    batch, count, _ = features.shape
    similarity = features @ features.transpose(1, 2)
    # A stable sort breaks ties by the first index, for the seed and for the candidates alike.
    order = patch_degrees(similarity).argsort(dim=1, stable=True)
    seed = order[:, 0]
    candidates = order[:, : min(lowest, count)]
    to_seed = similarity[torch.arange(batch), seed]
    chosen = torch.zeros_like(to_seed).scatter_(1, candidates, 1.0) * (to_seed > 0)
    # Sum of the chosen rows; the same as similarity[chosen].sum(0) image by image.
    support = (chosen.unsqueeze(1) @ similarity).squeeze(1)
    inside = support > 0
    # A seed with zero features correlates with nothing, itself included; it stays the object.
    inside[torch.arange(batch), seed] = True
    return component_at(inside.view(batch, *grid), seed)


def lost_boxes(features: Tensor, grid: tuple[int, int], lowest: int = 100) -> np.ndarray:
    """LOST's box of each image, in patches: (B, 4) x1 y1 x2 y2, right and bottom exclusive.

    See `lost_masks` for the arguments.
    """
    return mask_boxes(lost_masks(features, grid, lowest))
