"""LOST (Siméoni et al. 2021): one box per image from patch features, without training.

Paper section 4, equations 12 to 15; details as in the published code (docs/protocol.md#lost).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .components import component_at, mask_boxes

_BLOCKS = 4
_PRODUCTS = 2**26  # between patches at a time, of 4 bytes each


def patch_degrees(features: Tensor) -> Tensor:
    """Number of other patches to which each is positively correlated (equation 13).

    The released code counts A > 0 and leaves out the diagonal; the paper writes ≥ 0. On float
    features the two agree except at exact zeros.

    Args:
        features: (B, N, d) float32.

    Returns:
        (B, N) int64.
    """
    batch, count, _ = features.shape
    degrees = torch.zeros(batch, count, device=features.device)
    # Quarters of the rows, or fewer where those of all images would not fit; not fewer images.
    size = max(1, min(-(-count // _BLOCKS), _PRODUCTS // (batch * count)))
    # A is symmetric: blocks of rows from the diagonal on hold every pair, in less time and memory.
    for start in range(0, count, size):
        rows = slice(start, start + size)
        positive = features[:, rows] @ features[:, start:].transpose(1, 2)
        positive.gt_(0)  # ones and zeros; they are summed faster than booleans
        degrees[:, rows] += positive.sum(dim=2) - positive.diagonal(dim1=1, dim2=2)
        degrees[:, start + size :] += positive[:, :, size:].sum(dim=1)
    return degrees.long()


def candidate_count(k_patches: float, patches: int) -> int:
    """How many patches of lowest degree may join the seed.

    Args:
        k_patches: below 1 a share of the image's patches, of which at least one is taken; otherwise
            their number. The paper's 100 are of about 1000, the patches of a photograph; a share
            asks the same of other grids.
        patches: N of the image.
    """
    return max(1, round(k_patches * patches)) if k_patches < 1 else int(k_patches)


def lost_masks(
    features: Tensor, grid: tuple[int, int], k_patches: float = 100, found: Tensor | None = None
) -> np.ndarray:
    """LOST's object mask of each image of a batch with one patch grid.

    Args:
        features: (B, N, d) float32, N = h·w patches in row-major order.
        grid: (h, w).
        k_patches: how many patches of lowest degree may join the seed (the paper's a), or which
            share of all; see `candidate_count`.
        found: (B, N) bool, patches that belong to objects found before; they are no seeds, join
            none and are never in the mask. Each image must have others.

    Returns:
        (B, h, w) bool; each mask is 4-connected and holds the seed.
    """
    # A stable sort breaks ties by the first index, for the seed and for the candidates alike.
    degrees = patch_degrees(features)
    if found is not None:
        degrees = degrees.masked_fill(found, degrees.shape[1])  # above any degree
    order = degrees.argsort(dim=1, stable=True)
    seed, candidates = order[:, 0], order[:, : candidate_count(k_patches, order.shape[1])]
    may_join = torch.zeros_like(degrees, dtype=torch.bool).scatter_(1, candidates, True)
    return expanded_masks(features, grid, seed, may_join, found)


def expanded_masks(
    features: Tensor,
    grid: tuple[int, int],
    seed: Tensor,
    candidates: Tensor,
    found: Tensor | None = None,
    threshold: float = 0.0,
) -> np.ndarray:
    """What is like a seed and those of its candidates that are like it (equations 14 and 15).

    Args:
        features, grid, found: see `lost_masks`.
        seed: (B,) patches.
        candidates: (B, N) bool, patches that may join the seed.
        threshold: products above it, or means of products, make patches alike.

    Returns:
        (B, h, w) bool; each mask is 4-connected and holds the seed.
    """
    images = torch.arange(len(features), device=features.device)
    to_seed = (features[images, seed].unsqueeze(1) @ features.transpose(1, 2)).squeeze(1)
    chosen = candidates.to(to_seed.dtype) * (to_seed > threshold)
    if found is not None:
        chosen = chosen * ~found
    # The chosen rows of A add up to the products with the sum of the chosen features.
    support = (chosen.unsqueeze(1) @ features @ features.transpose(1, 2)).squeeze(1)
    inside = support > threshold * chosen.sum(dim=1, keepdim=True)
    # A seed with zero features correlates with nothing, itself included; it stays the object.
    inside[images, seed] = True
    if found is not None:
        inside &= ~found
    return component_at(inside.view(-1, *grid), seed)


def lost_boxes(features: Tensor, grid: tuple[int, int], k_patches: float = 100) -> np.ndarray:
    """LOST's box of each image, in patches: (B, 4) x1 y1 x2 y2, right and bottom exclusive.

    See `lost_masks` for the arguments.
    """
    return mask_boxes(lost_masks(features, grid, k_patches))
