"""Images at their native size: f's patch features of pixels or of kept states, and such states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from ..command_line.devices import autocast
from ..data.index import Index
from .base import Backbone
from .feature_maps import FeatureMaps
from .frozen_states import FrozenStates, NativeState
from .masked import Segmenter
from .native_extraction import NativeImage, in_groups, require_few

R = TypeVar("R")
_STORED = ("cls_attention",)  # besides keys and masks


class Found(NamedTuple):
    """What is stored of an image; see `FeatureWriter.append`."""

    image_id: int
    size: tuple[int, int]
    grid: tuple[int, int]
    key: Tensor
    attention: Tensor | None
    mask: Tensor | None


class Kept(NamedTuple):
    """What is stored of an image for its last blocks; see `StateWriter.append`."""

    image_id: int
    size: tuple[int, int]
    grid: tuple[int, int]
    state: Tensor


@torch.inference_mode()
def features_of_pixels(
    images: list[NativeImage],
    backbone: Backbone,
    at_once: Callable[[int, int], int],
    precision: str,
    dtype: str = "float32",
) -> list[Found]:
    """Features of images, those of one padded size together.

    Args:
        at_once: how many images of a patch grid (rows, columns) the network sees at once.
        dtype: of keys and attention; they are rounded before they leave a GPU.
    """

    def batch(group: list[NativeImage]) -> Iterable[Found]:
        with autocast(backbone.mean.device, precision):
            maps = backbone(torch.cat([image.pixels for image in group]), _STORED)
        return _found(backbone, maps, group, dtype)

    return of_equal_pixels(images, backbone, batch, at_once)


@torch.inference_mode()
def states_of_pixels(
    images: list[NativeImage],
    backbone: Backbone,
    last: int,
    at_once: Callable[[int, int], int],
    precision: str,
) -> list[Kept]:
    """What the `last` blocks read of images, which are seen together as by `features_of_pixels`."""

    def batch(group: list[NativeImage]) -> Iterable[Kept]:
        pixels = torch.cat([image.pixels for image in group])
        with autocast(backbone.mean.device, precision):
            states = backbone.frozen_forward(pixels, last).cpu()
        grid = backbone.patch_grid(pixels)
        for image, state in zip(group, states, strict=True):
            yield Kept(image.image_id, image.size, grid, state)

    return of_equal_pixels(images, backbone, batch, at_once)


def of_equal_pixels(
    images: list[NativeImage],
    backbone: Backbone,
    batch: Callable[[list[NativeImage]], Iterable[R]],
    at_once: Callable[[int, int], int],
) -> list[R]:
    """What `batch` gives of images, those of one padded size together, in the order given.

    Args:
        at_once: how many images of a patch grid (rows, columns) the network sees at once.
    """

    def size(shape: tuple[int, ...]) -> int:
        rows, columns = (side // backbone.stride for side in shape[-2:])
        return at_once(rows, columns)

    return in_groups(images, lambda image: tuple(image.pixels.shape), batch, size)


@torch.inference_mode()
def features_of_states(
    images: list[NativeState],
    backbone: Backbone,
    last: int,
    at_once: Callable[[int, int], int],
    precision: str,
    dtype: str = "float32",
) -> list[Found]:
    """The same of what the `last` blocks read of them."""
    place = backbone.mean.device

    def batch(group: list[NativeState]) -> Iterable[Found]:
        state = torch.stack([image.state for image in group]).to(place)
        with autocast(place, precision):
            maps = backbone.trainable_forward(state, last, group[0].grid, _STORED)
        return _found(backbone, maps, group, dtype)

    def size(grid: tuple[int, ...]) -> int:
        return at_once(grid[0], grid[1])

    return in_groups(images, lambda image: image.grid, batch, size)


def _found(
    backbone: Backbone,
    maps: FeatureMaps,
    images: Sequence[NativeImage | NativeState],
    dtype: str,
) -> Iterable[Found]:
    # A whole batch at once: each copy waits for a GPU.
    stored = getattr(torch, dtype)
    key, attentions = maps.key.to(stored).cpu(), maps.cls_attention
    attentions = None if attentions is None else attentions.to(stored).cpu()
    for row, image in enumerate(images):
        attention = None if attentions is None else attentions[row]
        mask = None
        if isinstance(backbone, Segmenter) and maps.mask is not None:
            mask = backbone.image_mask(maps.mask[row], image.size)
        yield Found(image.image_id, image.size, maps.grid, key[row], attention, mask)


def skipped_before(
    kept: FrozenStates, images: list[dict[str, Any]], index: Index, max_skipped: int
) -> list[dict[str, Any]]:
    """Those of the images that could not be read when the states were made.

    Raises:
        InputError: they are more than `max_skipped`.
    """
    listed = {image["id"] for image in images}
    skipped = [image for image in kept.skipped if image["image_id"] in listed]
    if skipped:
        last = f"image {skipped[-1]['image_id']}, {skipped[-1]['reason']}"
        require_few(len(skipped), max_skipped, index, last)
    return skipped
