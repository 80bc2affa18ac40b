"""MOVE's composition: a predicted foreground, moved onto the inpainted background.

Where the mask is an object, the object can be moved a little and the image stays plausible; any
other mask leaves traces that a discriminator finds (PROTOCOL section 1).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .masked_autoencoder import MaskedAutoencoder, visible_patches


class Composition(NamedTuple):
    """Images (B, 3, S, S) as the autoencoder draws them; the first two play real ones.

    Attributes:
        real: the image itself.
        unmoved: the foreground where it was, on the inpainted background.
        moved: the foreground moved, on the inpainted background: what the segmenter is judged by.
        pasted: the foreground moved, on the image itself, which then shows it twice.
        mask: (B, 1, S, S) the moved mask.
    """

    real: Tensor
    unmoved: Tensor
    moved: Tensor
    pasted: Tensor
    mask: Tensor


def compose(
    inpainter: MaskedAutoencoder, images: Tensor, mask: Tensor, offsets: Tensor
) -> Composition:
    """Move the foreground of each image.

    The background is inpainted both where the foreground was and where it goes: what lies there
    is then hidden by it, and the inpainter sees no seam.

    Args:
        images: (B, 3, S, S) in [0, 1].
        mask: (B, 1, S, S) in [0, 1].
        offsets: (B, 2) int64, rows and columns.
    """
    moved_images, moved_mask = shift(images, offsets), shift(mask, offsets)
    left = mask * (1 - moved_mask)
    visible = visible_patches(left + moved_mask, inpainter.spec.patch_size)
    with torch.no_grad():  # no weight of the inpainter and no pixel is trained
        tokens = inpainter.encode(images)
        real = inpainter.decode(tokens)
        drawn = inpainter.decode(inpainter.encode(moved_images))
    background = inpainter.decode(tokens, visible)
    return Composition(
        real=real,
        unmoved=real * mask + background * (1 - mask),
        moved=drawn * moved_mask + background * (1 - moved_mask),
        pasted=drawn * moved_mask + real * (1 - moved_mask),
        mask=moved_mask,
    )


def shift(planes: Tensor, offsets: Tensor) -> Tensor:
    """(B, C, H, W) moved by whole pixels (B, 2), downwards and to the right; zeros come in."""
    margin = int(offsets.abs().max())
    height, width = planes.shape[-2:]
    padded = functional.pad(planes, (margin,) * 4)
    return torch.stack(
        [
            plane[:, margin - y : margin - y + height, margin - x : margin - x + width]
            for plane, (y, x) in zip(padded, offsets.tolist(), strict=True)
        ]
    )


def random_offsets(count: int, side: int, share: float, generator: torch.Generator) -> Tensor:
    """(count, 2) int64, uniform in ± share · side pixels."""
    uniform = torch.rand(count, 2, generator=generator) * 2 - 1
    return (uniform * share * side).round().long()
