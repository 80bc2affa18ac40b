"""What MOVE asks of a mask besides fooling the discriminator (docs/protocol.md#move)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..options import option


@dataclass(frozen=True)
class MaskLossWeights:
    """The mask losses.

    MOVE sets no bound above; where backgrounds are full of things that could be moved too, one
    says how much of them is wanted. Set at once, it is met by a frame along the border, long before
    there is a foreground; hence its warm-up.
    """

    area_weight: float = option(100.0, "of the loss on areas out of bounds", min=0)
    min_area: float = option(0.05, "share of the image that a mask should cover", above=0, below=1)
    max_area: float = option(1.0, "and at most; MOVE sets no bound", above=0, max=1)
    area_warmup: int = option(0, "over which the latter bound sinks from 1", unit="steps", min=0)
    binary_weight: float = option(12.5, "of the binarisation loss", min=0)
    binary_warmup: int = option(2500, "over which that weight rises", unit="steps", min=0)


def mask_losses(
    mask: Tensor, patch_size: int, weights: MaskLossWeights, step: int
) -> dict[str, Tensor]:
    """Losses of masks (B, 1, S, S) in [0, 1], summed over three resolutions.

    Both terms are taken of the mask itself and of its averages and maxima over patches: a mask of
    scattered pixels has large maxima, one that is grey all over has grey averages.

    Args:
        patch_size: side of the patches pooled over, in pixels.
        step: of the training, from 0, for the warm-ups.

    Returns:
        `area` and `binary`, unweighted, and their weighted sum `mask`.
    """
    planes = (
        mask,
        functional.avg_pool2d(mask, patch_size),
        functional.max_pool2d(mask, patch_size),
    )
    area = torch.stack([min_area_loss(plane, weights.min_area) for plane in planes]).sum()
    sunk = _risen(step, weights.area_warmup)
    area = area + max_area_loss(mask, 1 - sunk * (1 - weights.max_area))
    binary = torch.stack([binarisation_loss(plane) for plane in planes]).sum()
    binary_weight = weights.binary_weight * _risen(step, weights.binary_warmup)
    total = weights.area_weight * area + binary_weight * binary
    return {"area": area, "binary": binary, "mask": total}


def _risen(step: int, warmup: int) -> float:
    """From 0 to 1 over the steps of a warm-up, and 1 from then on."""
    return min(1.0, step / warmup) if warmup else 1.0


def min_area_loss(mask: Tensor, min_area: float) -> Tensor:
    """Mean over (B, 1, S, S) masks of how much less than `min_area` they cover."""
    return (min_area - mask.mean(dim=(-2, -1))).relu().mean()


def max_area_loss(mask: Tensor, max_area: float) -> Tensor:
    """Mean over (B, 1, S, S) masks of how much more than `max_area` they cover."""
    return (mask.mean(dim=(-2, -1)) - max_area).relu().mean()


def binarisation_loss(mask: Tensor) -> Tensor:
    """Mean of min(m, 1 - m) over all pixels."""
    return torch.minimum(mask, 1 - mask).mean()
