"""What MOVE asks of a mask besides fooling the discriminator (PROTOCOL section 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class MaskLossWeights:
    """Weights of the mask losses.

    Attributes:
        area_weight: of the loss on areas out of bounds.
        least_area: share of the image that a mask should cover at least.
        greatest_area: and at most; MOVE has no such bound, which is 1. Where backgrounds are full
            of things that could be moved too, it says how much of them is wanted.
        area_warmup: steps over which that bound sinks from 1. Set at once, it is met by a frame
            along the border, long before there is a foreground.
        binary_weight: of the binarisation loss.
        binary_warmup: steps over which that weight rises from 0.
    """

    area_weight: float = 100.0
    least_area: float = 0.05
    greatest_area: float = 1.0
    area_warmup: int = 0
    binary_weight: float = 12.5
    binary_warmup: int = 2500


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
    area = torch.stack([least_area_loss(plane, weights.least_area) for plane in planes]).sum()
    sunk = _risen(step, weights.area_warmup)
    area = area + greatest_area_loss(mask, 1 - sunk * (1 - weights.greatest_area))
    binary = torch.stack([binarisation_loss(plane) for plane in planes]).sum()
    binary_weight = weights.binary_weight * _risen(step, weights.binary_warmup)
    total = weights.area_weight * area + binary_weight * binary
    return {"area": area, "binary": binary, "mask": total}


def _risen(step: int, warmup: int) -> float:
    """From 0 to 1 over the steps of a warm-up, and 1 from then on."""
    return min(1.0, step / warmup) if warmup else 1.0


def least_area_loss(mask: Tensor, least_area: float) -> Tensor:
    """Mean over (B, 1, S, S) masks of how much less than `least_area` they cover."""
    return (least_area - mask.mean(dim=(-2, -1))).relu().mean()


def greatest_area_loss(mask: Tensor, greatest_area: float) -> Tensor:
    """Mean over (B, 1, S, S) masks of how much more than `greatest_area` they cover."""
    return (mask.mean(dim=(-2, -1)) - greatest_area).relu().mean()


def binarisation_loss(mask: Tensor) -> Tensor:
    """Mean of min(m, 1 - m) over all pixels."""
    return torch.minimum(mask, 1 - mask).mean()
