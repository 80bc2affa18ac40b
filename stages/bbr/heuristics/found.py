"""FOUND's first step (Siméoni et al. 2023): find the background, and the rest is the object.

The patch that [CLS] attends to least is of the background; all patches that are like it are
background too. Attention heads that look at few patches count for more, in the choice of that patch
and in what is alike. Details as in the published code (docs/protocol.md#found); the small network
that the paper then trains on these masks is not part of it: h takes its place.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .components import largest_component, mask_boxes

_TINY = 1e-10  # a head that looks at nothing has a finite weight


def head_weights(attention: Tensor) -> Tensor:
    """The log of how much rarer a head's strong attention is than that of all heads together.

    Attention is strong where it exceeds the mean over all heads and patches of its image.

    Args:
        attention: (B, heads, N) of [CLS] to the patches.

    Returns:
        (B, heads), none negative.
    """
    strong = attention > attention.mean(dim=(1, 2), keepdim=True)
    share = strong.to(attention.dtype).mean(dim=2) + _TINY
    return (share.sum(dim=1, keepdim=True) / share).log()


def background_similarity(features: Tensor, attention: Tensor) -> Tensor:
    """Cosine of each patch to the one that is background for certain: (B, N), at most 1.

    Args:
        features: (B, N, d) float32, the heads concatenated.
        attention: (B, heads, N); d must be a multiple of heads.
    """
    weights = head_weights(attention)
    reference = (weights.unsqueeze(2) * attention).sum(dim=1).argmin(dim=1)
    by_head = features.unflatten(2, (weights.shape[1], -1)) * weights[:, None, :, None]
    units = functional.normalize(by_head.flatten(2), dim=2)
    images = torch.arange(len(units), device=units.device)
    return (units @ units[images, reference].unsqueeze(2)).squeeze(2)


def found_masks(
    features: Tensor,
    attention: Tensor,
    grid: tuple[int, int],
    threshold: float = 0.3,
    found: Tensor | None = None,
) -> np.ndarray:
    """The largest 4-connected component of what is not background, in each image of a batch.

    Where all is background, it is the patch least like it.

    Args:
        features, attention: see `background_similarity`; N = h·w patches in row-major order.
        grid: (h, w).
        threshold: cosine above which a patch is background.
        found: (B, N) bool, patches that belong to objects found before, and are never in the mask.
            Each image must have others.

    Returns:
        (B, h, w) bool, at least one patch each.
    """
    similarity = background_similarity(features, attention)
    if found is not None:
        similarity = similarity.masked_fill(found, torch.inf)
    objects = (similarity <= threshold) | (similarity == similarity.amin(dim=1, keepdim=True))
    return largest_component(objects.view(-1, *grid))


def found_boxes(
    features: Tensor, attention: Tensor, grid: tuple[int, int], threshold: float = 0.3
) -> np.ndarray:
    """FOUND's box of each image, in patches: (B, 4) x1 y1 x2 y2, right and bottom exclusive.

    See `found_masks` for the arguments.
    """
    return mask_boxes(found_masks(features, attention, grid, threshold))
