"""MOVE's segmenter: a frozen f, a normalisation and a head that gives a mask, as one more backbone.

Its maps are f's, with `FeatureMaps.mask` besides; so that what holds for f holds for a segmenter
too. The refined segmenter differs in its head alone (docs/protocol.md#move).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from .base import Backbone, SegmenterSpec
from .feature_maps import EXTRAS, FeatureMaps


class MaskHead(nn.Module):
    """Up-blocks of a 3 × 3 convolution, BatchNorm and LeakyReLU, then one logit a pixel.

    The layers lie in one `Sequential` as in the published segmenter, whose names they share: each
    block but the last doubles the resolution (nearest neighbour) before it convolves.
    """

    def __init__(self, dim: int, spec: SegmenterSpec) -> None:
        super().__init__()
        count = spec.upsamplings + 1
        widths = [dim, *(max(spec.min_width, dim // 2 ** (i + 1)) for i in range(count))]
        blocks = [_up_block(widths[i], widths[i + 1], upsample=i < count - 1) for i in range(count)]
        self.model = nn.Sequential(*blocks, nn.Conv2d(widths[-1], 1, kernel_size=1))

    def forward(self, plane: Tensor) -> Tensor:
        """(B, dim, h, w) to logits (B, h · 2^upsamplings, w · 2^upsamplings)."""
        return self.model(plane).squeeze(1)


def _up_block(inputs: int, outputs: int, upsample: bool) -> nn.Sequential:
    layers = [
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(),
    ]
    return nn.Sequential(*([nn.Upsample(scale_factor=2)] if upsample else []), *layers)


class Segmenter(Backbone):
    """f with a mask head.

    Args:
        features: f, which stays as it is.
        spec: of the head; `features.spec` with this is the segmenter's own specification.
    """

    def __init__(self, features: Backbone, spec: SegmenterSpec) -> None:
        if features.spec.block != -1:
            raise InputError(f"block {features.spec.block}: a segmenter reads the last one, -1")
        super().__init__(replace(features.spec, segmenter=spec))
        self.stride, self.dim = features.stride, features.dim
        self.heads = getattr(features, "heads", 0)
        self.upsamplings = spec.upsamplings
        if not 0 <= spec.upsamplings <= full_upsamplings(self.stride):
            raise InputError(
                f"upsamplings is {spec.upsamplings}, must be 0 to {full_upsamplings(self.stride)}"
                f" for patches of {self.stride} pixels"
            )
        self.features = features.requires_grad_(False)
        dim = features.plane_channels
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = MaskHead(dim, spec)

    @property
    def network(self) -> nn.ModuleDict:
        """All that its file holds, under the names that it has there."""
        own = {"norm": self.norm, "head": self.head}
        if self.spec.segmenter is not None and self.spec.segmenter.features is not None:
            return nn.ModuleDict(own)
        return nn.ModuleDict({"features": self.features.network, **own})

    @property
    def depth(self) -> int:
        """The head is the one block that can move."""
        return 1

    def train(self, mode: bool = True) -> Segmenter:
        """f is never in training mode."""
        super().train(mode)
        self.features.eval()
        return self

    def reset(self, keep_norm: bool = False) -> None:
        """Start norm and head, or the head alone, afresh, from torch's random numbers."""
        for module in (self.head if keep_norm else self.trainable(1)).modules():
            if callable(again := getattr(module, "reset_parameters", None)):
                again()

    def _pad(self, pixels: Tensor, right: int, bottom: int) -> Tensor:
        """Mirrored at the edge, as MOVE does; repeated where an image is too small for that."""
        fits = right < pixels.shape[-1] and bottom < pixels.shape[-2]
        mode = "reflect" if fits else "replicate"
        return functional.pad(pixels, (0, right, 0, bottom), mode=mode)

    @torch.no_grad()
    def frozen_forward(self, pixels: Tensor, last: int) -> Tensor:
        """See `Backbone.frozen_forward`, `last` is 1: what the head reads, not normalised yet."""
        return self.features.frozen_forward(pixels, self.features.plane_blocks)

    def trainable_forward(
        self, state: Tensor, last: int, grid: tuple[int, int], extras: Collection[str] = EXTRAS
    ) -> FeatureMaps:
        """See `Backbone.trainable_forward`; no gradient reaches f."""
        with torch.no_grad():
            last = self.features.plane_blocks
            maps = self.features.trainable_forward(state, last, grid, extras)
        return replace(maps, mask=self.mask(self.features.plane(state, grid)))

    def mask(self, plane: Tensor) -> Tensor:
        """f's plane (B, h, w, C) to (B, h · 2^upsamplings, w · 2^upsamplings) in [0, 1]."""
        return self.head(self.norm(plane).permute(0, 3, 1, 2)).float().sigmoid()

    def trainable(self, last: int) -> nn.ModuleList:
        """See `Backbone.trainable`."""
        return nn.ModuleList([self.norm, self.head])

    def image_mask(self, mask: Tensor, size: tuple[int, int]) -> Tensor:
        """One mask of `FeatureMaps` (h', w') in the pixels of its image, without padding: (H, W).

        Args:
            size: (H, W) of the image as it lies on disk.
        """
        padded = [side * self.stride // 2**self.upsamplings for side in mask.shape]
        inside = [max(1, round(side * self.spec.scale)) for side in size]
        plane = _resize(mask[None, None], padded)[..., : inside[0], : inside[1]]
        return _resize(plane, list(size))[0, 0]


def _resize(plane: Tensor, size: list[int]) -> Tensor:
    if list(plane.shape[-2:]) == size:
        return plane
    return functional.interpolate(plane, size, mode="bilinear", align_corners=False)


def full_upsamplings(stride: int) -> int:
    """Doublings that bring a patch grid to the network's input resolution."""
    return int(math.log2(stride))
