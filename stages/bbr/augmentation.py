"""The training augmentation of h and f^h (PROTOCOL section 1), on batches of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

AUGMENTATIONS = ("none", "flip_maps", "crop_flip")


def crop_and_flip(images: Tensor, generator: torch.Generator, least_area: float = 0.9) -> Tensor:
    """RandomResizedCrop to the same size (bicubic) and horizontal flip, one draw an image.

    Args:
        images: (B, 3, S, S) uint8.
        least_area: smallest crop, as a fraction of the image's area.

    Returns:
        (B, 3, S, S) uint8.
    """
    cropped = [_crop(image, generator, least_area) for image in images]
    return torch.stack(cropped)


def flip_maps(maps: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror about half of the maps, and their boxes with them.

    f sees a mirrored image almost as the mirror image of what it saw, so that this stands in for
    flipping the image and running f again.

    Args:
        maps: (B, C, h, w), in the `spatial` layout.
        boxes: (B, 4) cxcywh in fractions of the image.
    """
    chosen = torch.rand(len(maps), generator=generator) < 0.5
    mirrored = torch.cat((1 - boxes[:, :1], boxes[:, 1:]), dim=1)
    return (
        torch.where(chosen.view(-1, 1, 1, 1), maps.flip(-1), maps),
        torch.where(chosen.view(-1, 1), mirrored, boxes),
    )


def _crop(image: Tensor, generator: torch.Generator, least_area: float) -> Tensor:
    side = image.shape[-1]
    area, top, left, flip = torch.rand(4, generator=generator).tolist()
    cut = max(1, round(side * (least_area + (1 - least_area) * area) ** 0.5))
    y, x = int(top * (side - cut + 1)), int(left * (side - cut + 1))
    window = image[:, y : y + cut, x : x + cut].float().unsqueeze(0)
    resized = functional.interpolate(window, (side, side), mode="bicubic", antialias=True)[0]
    resized = resized.round().clamp(0, 255).to(torch.uint8)
    return resized.flip(-1) if flip < 0.5 else resized
