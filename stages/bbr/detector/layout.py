"""Which parts of f's output map h reads, and how they are arranged for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import InputError
from ..options import option

if TYPE_CHECKING:  # importing timm takes seconds, and stages that only read need none of it
    from ..backbones.base import Backbone
    from ..backbones.feature_maps import FeatureMaps
# By name, what it takes of a network's maps besides keys and mask.
_EXTRAS: dict[str, tuple[str, ...]] = {
    "k": (),
    "qkv": ("query", "value"),
    "qkv_cls": ("query", "value", "cls_parts"),
    "mask": (),
}
PARTS = tuple(_EXTRAS)


@dataclass(frozen=True)
class InputOptions:
    """What h reads of f."""

    image_size: int = option(304, "side to which images are resized", unit="px", min=1)
    parts: str = option(
        "qkv",
        "keys; queries, keys, values, with [CLS] before the patches or without; or a segmenter's"
        " mask",
        choices=PARTS,
    )


def stack_parts(maps: FeatureMaps, parts: str) -> Tensor:
    """The maps that h reads: (B, P, N, d), with [CLS] (B, P, 1 + N, d); of a mask (B, 1, H·W, 1).

    Raises:
        InputError: queries and values, or a mask, are wanted of a backbone that has none.
    """
    if parts == "k":
        return maps.key.unsqueeze(1)
    if parts == "mask":
        if maps.mask is None:
            raise InputError("this backbone gives no mask; use a segmenter, or parts: k")
        return maps.mask.flatten(1)[:, None, :, None]
    if maps.query is None or maps.value is None:
        raise InputError("a convolutional backbone has no queries and values; use parts: k")
    stacked = torch.stack((maps.query, maps.key, maps.value), dim=1)
    if parts == "qkv":
        return stacked
    assert maps.cls_parts is not None, "what has queries and values has [CLS]"
    return torch.cat((maps.cls_parts.to(stacked.dtype), stacked), dim=2)


def extras_of_parts(parts: str) -> frozenset[str]:
    """What `stack_parts` reads besides keys and mask; see `Backbone.trainable_forward`."""
    return frozenset(_EXTRAS[parts])


def parts_grid(maps: FeatureMaps, parts: str) -> tuple[int, int]:
    """The grid (h, w) of what `stack_parts` gives."""
    if parts == "mask" and maps.mask is not None:
        height, width = maps.mask.shape[-2:]
        return height, width
    return maps.grid


def parts_shape(
    backbone: Backbone, image_size: int, parts: str
) -> tuple[tuple[int, int], tuple[int, int, int]]:
    """Grid (h, w) and shape (P, N, d) of what a backbone gives of square images.

    Raises:
        InputError: a mask is wanted of a backbone that has none.
    """
    rows, columns = backbone.grid_of(image_size, image_size)
    if parts != "mask":
        count = 1 if parts == "k" else 3
        tokens = rows * columns + (parts == "qkv_cls")
        return (rows, columns), (count, tokens, backbone.dim)
    if backbone.spec.segmenter is None:
        raise InputError("parts mask: this backbone gives no mask; use a segmenter, or parts: k")
    cells = 2**backbone.spec.segmenter.upsamplings
    rows, columns = rows * cells, columns * cells
    return (rows, columns), (1, rows * columns, 1)


def arrange(maps: Tensor, grid: tuple[int, int], layout: str) -> Tensor:
    """Maps (B, P, N, d) in the layout of h's specification.

    Returns:
        `qkv_image`: (B, P, N, d) as it is, an image of N × d "pixels"; `spatial`: (B, P·d, h, w);
        `mask_image`: the mask as a grey image (B, 3, h, w).

    Raises:
        InputError: `qkv_image` of keys alone, `mask_image` of what is no mask, or `spatial` of
            [CLS], which has no place.
    """
    if layout == "qkv_image":
        if maps.shape[1] != 3:
            raise InputError("layout qkv_image needs queries, keys and values; use parts: qkv")
        return maps
    if maps.shape[2] != grid[0] * grid[1]:
        raise InputError(f"layout {layout}: [CLS] has no place among the patches; use parts: qkv")
    planes = maps.permute(0, 1, 3, 2).flatten(1, 2).unflatten(2, grid)
    if layout == "mask_image":
        if planes.shape[1] != 1:
            raise InputError("layout mask_image needs a mask; use parts: mask")
        return planes.expand(-1, 3, -1, -1)
    return planes


def layout_channels(parts: int, dim: int, layout: str) -> int:
    """Channels of what `arrange` returns."""
    return {"spatial": parts * dim, "qkv_image": parts, "mask_image": 3}[layout]
