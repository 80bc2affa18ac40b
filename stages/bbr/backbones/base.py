"""f: any timm vision transformer or convolutional network behind one small interface.

Both kinds map a batch of images to one row of features per patch, `FeatureMaps.key`, which every
heuristic reads. Transformers also give queries, values, the [CLS] attention and output tokens.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .feature_maps import EXTRAS, FeatureMaps

NORMALIZATIONS = ("none", "center", "layernorm")
FACETS = ("key", "key_without_bias", "query", "value", "token")
# Names that stand for weights from a package that every installation has.
PACKAGED = ("efficientnet_lite0", "dinov2_vits14")


@dataclass(frozen=True)
class SegmenterSpec:
    """The mask head of MOVE's segmenter (docs/protocol.md#move).

    Attributes:
        upsamplings: how often the patch grid is doubled; log2(patch size) gives a mask of the
            network's input resolution.
        min_width: channels of the i-th up-block are max(min_width, d / 2^i).
        features: where f's weights come from if not from the segmenter's own file: a package that
            is always at hand, as `efficientnet_lite0`.
    """

    upsamplings: int
    min_width: int = 128
    features: str | None = None


@dataclass(frozen=True)
class BackboneSpec:
    """All that is needed to build f but its weights; travels in the weights file's metadata.

    Attributes:
        architecture: a timm model name.
        arguments: overrides for `timm.create_model`, such as `{"depth": 4}`.
        normalization: what is done to each image's (patches, channels) feature plane: `none`,
            `center` (subtract the mean over patches) or `layernorm` (over the whole plane).
        mean, std: per-channel statistics of the RGB input in [0, 1].
        scale: images are resized by this factor before they enter the network.
        segmenter: of a mask head, where there is one.
        facet: what of a transformer's block heuristics and h read, patch by patch: `key`, `query`
            or `value` of its attention, heads concatenated; `key_without_bias`, the keys of the
            same attention without the bias of their projection; or `token`, its output through
            the network's last normalisation. A convolutional network has its map alone, `key`.
        block: of which block: -1 is the last, -2 that before it, 0 the first.

    Softmax takes no notice of a bias that all keys share, so training does not hold it back; LOST
    and TokenCut, which compare keys with each other, do see it. `key_without_bias` changes what
    they read, and nothing in the network. (It is not the same network's output where keys are
    normalised or turned by rotary positions behind the bias; there too it is only what is read.)
    """

    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    normalization: str = "none"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    scale: float = 1.0
    segmenter: SegmenterSpec | None = None
    facet: str = "key"
    block: int = -1


class Backbone(nn.Module):
    """Common part of the two kinds: the specification and the pixel pipeline.

    Attributes:
        stride: side of a patch in network-input pixels.
        dim: channels d of `FeatureMaps.key`.
        plane_blocks: the `last` of `frozen_forward` whose state `plane` reads.
        plane_channels: channels of `plane`.
        reach: how many of the last blocks `trainable_forward` runs at least: heuristics read the
            first of them.
    """

    stride: int
    dim: int
    plane_blocks: int
    plane_channels: int
    reach: int = 0
    mean: Tensor
    std: Tensor
    network: Any  # timm's, whose parts it does not annotate

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def prepare(self, images: Tensor) -> Tensor:
        """Scale, normalise and zero-pad uint8 images to a multiple of the stride.

        Args:
            images: (B, 3, H, W) uint8 RGB.

        Returns:
            (B, 3, H', W') float32; padding is on the right and at the bottom, after
            normalisation (docs/protocol.md#images-and-features). A segmenter mirrors the
            image there instead.
        """
        pixels = images.to(self.mean.device).float() / 255
        if self.spec.scale != 1:
            size = [max(1, round(side * self.spec.scale)) for side in images.shape[-2:]]
            pixels = functional.interpolate(pixels, size, mode="bicubic", align_corners=False)
        pixels = (pixels - self.mean) / self.std
        height, width = pixels.shape[-2:]
        return self._pad(pixels, -width % self.stride, -height % self.stride)

    def _pad(self, pixels: Tensor, right: int, bottom: int) -> Tensor:
        return functional.pad(pixels, (0, right, 0, bottom))

    @property
    def patch_pixels(self) -> float:
        """Side of a patch in pixels of the image as it lies on disk."""
        return self.stride / self.spec.scale

    def grid_of(self, height: int, width: int) -> tuple[int, int]:
        """Patch rows and columns of an image of this size on disk."""
        sides = (max(1, round(side * self.spec.scale)) for side in (height, width))
        rows, columns = (-(-side // self.stride) for side in sides)
        return rows, columns

    @property
    def depth(self) -> int:
        """How many blocks `frozen_forward` and `trainable_forward` can tell apart."""
        raise TypeError("Backbone is abstract: use load_backbone")

    def forward(self, pixels: Tensor, extras: Collection[str] = EXTRAS) -> FeatureMaps:
        """Maps of prepared images (B, 3, H', W'); see `prepare` and `trainable_forward`."""
        state = self.frozen_forward(pixels, self.depth)
        return self.trainable_forward(state, self.depth, self.patch_grid(pixels), extras)

    def frozen_forward(self, pixels: Tensor, last: int) -> Tensor:
        """What the `last` blocks read of prepared images: all that comes before them.

        Where only the last blocks are trained, this part is the same at every step and can be
        kept: `trainable_forward(frozen_forward(x, n), n, grid)` is `forward(x)` for any n from 1
        to `depth`. A block that heuristics read is left to `trainable_forward` even where it comes
        before the `last`; see `reach`.
        """
        raise TypeError("Backbone is abstract: use load_backbone")

    def trainable_forward(
        self, state: Tensor, last: int, grid: tuple[int, int], extras: Collection[str] = EXTRAS
    ) -> FeatureMaps:
        """Maps from the output of `frozen_forward` with the same `last`.

        Args:
            extras: what is read of the maps besides keys and mask; the rest may be None.
        """
        raise TypeError("Backbone is abstract: use load_backbone")

    def trainable(self, last: int) -> nn.ModuleList:
        """The `last` blocks and what follows them, all of which `trainable_forward` runs."""
        raise TypeError("Backbone is abstract: use load_backbone")

    def plane(self, state: Tensor, grid: tuple[int, int]) -> Tensor:
        """What a mask head reads, from `frozen_forward` with `plane_blocks`.

        Returns:
            (B, h, w, plane_channels).
        """
        raise TypeError("Backbone is abstract: use load_backbone")

    def patch_grid(self, pixels: Tensor) -> tuple[int, int]:
        """(h, w) of prepared images (B, 3, H', W')."""
        return pixels.shape[-2] // self.stride, pixels.shape[-1] // self.stride

    def _normalize(self, plane: Tensor) -> Tensor:
        if self.spec.normalization == "center":
            return plane - plane.mean(dim=1, keepdim=True)
        if self.spec.normalization == "layernorm":
            return functional.layer_norm(plane, plane.shape[1:])
        return plane
