"""How batches of images are augmented to train h and f^h (docs/protocol.md#h-for-discovery)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ..command_line.fast_import import large_imports
from ..options import option

AUGMENTATIONS = ("none", "flip_maps", "crop_flip", "native_crop_flip")
CROPS = ("crop_flip", "native_crop_flip")  # of images, which f then sees at each step


@dataclass(frozen=True)
class ChannelDropout:
    """What h is shown of f; see `drop_channels`."""

    channel_dropout: float = option(
        0.0, "share of f's channels that h is not shown, drawn anew for each image", min=0, below=1
    )


def crop_and_flip(images: Tensor, generator: torch.Generator, min_area: float = 0.9) -> Tensor:
    """RandomResizedCrop to the same size (bicubic) and horizontal flip, one draw an image.

    Args:
        images: (B, 3, S, S) uint8.
        min_area: smallest crop, as a fraction of the image's area.

    Returns:
        (B, 3, S, S) uint8.
    """
    cropped = [_crop(image, generator, min_area) for image in images]
    return torch.stack(cropped)


def crop_native(pixels: np.ndarray, size: int, generator: torch.Generator) -> Tensor:
    """RandomResizedCrop (bicubic) of an image as it lies on disk, and horizontal flip.

    As the released code has it, which crops before it resizes: torchvision draws crops of other
    shapes than the image's too, of 0.9 of its area or more.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        (3, size, size) uint8.
    """
    with large_imports():
        from torchvision.transforms import RandomResizedCrop

    # torchvision draws from the generator that all share.
    seed = int(torch.randint(2**62, (), generator=generator))
    image = Image.fromarray(pixels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        top, left, height, width = RandomResizedCrop.get_params(image, [0.9, 1], [3 / 4, 4 / 3])
        flip = bool(torch.rand(1) < 0.5)
    window = image.crop((left, top, left + width, top + height))
    resized = window.resize((size, size), Image.Resampling.BICUBIC)
    tensor = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
    return tensor.flip(-1) if flip else tensor


def flip_images(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror about half of (B, C, H, W) images left to right."""
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1).to(images.device), images.flip(-1), images)


def flip_maps(maps: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror about half of the maps, and their boxes with them.

    f sees a mirrored image almost as the mirror image of what it saw, so that this stands in for
    flipping the image and running f again.

    Args:
        maps: (B, C, h, w), in the `spatial` layout.
        boxes: (B, 4) or (B, T, 4) cxcywh in fractions of the image.
    """
    chosen = torch.rand(len(maps), generator=generator) < 0.5
    mirrored = torch.cat((1 - boxes[..., :1], boxes[..., 1:]), dim=-1)
    return (
        torch.where(chosen.view(-1, 1, 1, 1), maps.flip(-1), maps),
        torch.where(chosen.view(-1, *[1] * (boxes.ndim - 1)), mirrored, boxes),
    )


def drop_channels(maps: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Silence a random share of each image's channels, and scale up the rest.

    h then cannot rest on a few channels of f, and what it teaches f^h is spread over all: where
    the frozen h sees every channel, f^h can please it by changes that no heuristic would notice.

    Args:
        maps: (B, P, N, d).
        share: in [0, 1); 0 leaves the maps as they are and draws nothing.

    Returns:
        (B, P, N, d).
    """
    if share == 0:
        return maps
    batch, parts, _, dim = maps.shape
    kept = torch.rand(batch, parts, 1, dim, generator=generator) >= share
    return maps * (kept / (1 - share)).to(maps.device, maps.dtype)


def _crop(image: Tensor, generator: torch.Generator, min_area: float) -> Tensor:
    side = image.shape[-1]
    area, top, left, flip = torch.rand(4, generator=generator).tolist()
    cut = max(1, round(side * (min_area + (1 - min_area) * area) ** 0.5))
    y, x = int(top * (side - cut + 1)), int(left * (side - cut + 1))
    window = image[:, y : y + cut, x : x + cut].float().unsqueeze(0)
    resized = functional.interpolate(window, (side, side), mode="bicubic", antialias=True)[0]
    resized = resized.round().clamp(0, 255).to(torch.uint8)
    return resized.flip(-1) if flip < 0.5 else resized
