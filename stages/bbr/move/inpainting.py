"""Training of the inpainter: which patches are hidden, and how a reconstruction is judged."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .masked_autoencoder import AutoencoderSpec


def hide_patches(count: int, side: int, share: float, generator: torch.Generator) -> Tensor:
    """Patches that stay visible, as many for each image: (count, n) int64, ascending.

    What is hidden is a rectangle, as large for all images but elsewhere in each, and scattered
    patches besides: a rectangle is what an object leaves behind, and cannot be guessed from its
    nearest neighbours.

    Args:
        side: patches on a side of the square grid.
        share: of the side² patches that is hidden, in (0, 1).
    """
    hidden = min(max(1, round(share * side * side)), side * side - 1)
    height, width = (int(torch.randint(1, side // 2 + 1, (), generator=generator)) for _ in "yx")
    width = min(width, hidden // height) or 1
    top = torch.randint(0, side - height + 1, (count, 1), generator=generator)
    left = torch.randint(0, side - width + 1, (count, 1), generator=generator)
    axis = torch.arange(side)
    rows = (axis >= top) & (axis < top + height)
    columns = (axis >= left) & (axis < left + width)
    block = (rows[:, :, None] & columns[:, None, :]).flatten(1)
    order = torch.rand(count, side * side, generator=generator) + block
    return order.argsort(dim=1)[:, : side * side - hidden].sort(dim=1).values


def reconstruction_loss(
    drawn: Tensor, images: Tensor, kept: Tensor, spec: AutoencoderSpec
) -> dict[str, Tensor]:
    """Mean squared errors, in units of the images' standard deviation.

    MAE judges the hidden patches alone; here the visible ones count as much, since MOVE shows
    images to its discriminator as the autoencoder draws them.

    Args:
        drawn, images: (B, 3, S, S).
        kept: (B, n) int64, the visible patches.

    Returns:
        `hidden` and `visible`, means over those pixels, and their sum `total`.
    """
    std = torch.tensor(spec.std, device=images.device).view(1, 3, 1, 1)
    error = ((drawn - images) / std).square().mean(dim=1, keepdim=True)
    patches = functional.avg_pool2d(error, spec.patch_size).flatten(1)
    visible = patches.gather(1, kept.to(patches.device))
    rest = patches.shape[1] - kept.shape[1]
    hidden = (patches.sum() - visible.sum()) / (rest * len(images))
    return {"hidden": hidden, "visible": visible.mean(), "total": hidden + visible.mean()}
