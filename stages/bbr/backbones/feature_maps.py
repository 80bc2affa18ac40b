"""What f says of a batch of images: arrays, from a network in memory or from a file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

# What `trainable_forward` gives besides keys and a mask, and leaves out where nothing reads it: the
# last block's output, for `tokens`, is most of that block's work.
EXTRAS = frozenset({"cls_attention", "query", "value", "cls_parts", "tokens"})


@dataclass(frozen=True)
class FeatureMaps:
    """Maps of B images with an (h, w) patch grid, N = h·w patches, row-major.

    A network fills `query` to `mask`, as far as it has them; a file has the keys and fills
    `image_ids` to `image_masks`. Without `image_sizes`, pixels are those of the grid.

    Attributes:
        key: (B, N, d); what heuristics read: by default keys of the last self-attention, heads
            concatenated, otherwise what the specification's `facet` and `block` name; or a
            convolutional map. Normalised as the specification says.
        grid: (h, w).
        cls_attention: (B, heads, N) attention of [CLS] to the patches, or None.
        query, value: (B, N, d) of that block, or None for a convolutional backbone.
        cls_parts: (B, 3, 1, d) query, key and value of [CLS] in that block, or None.
        tokens: (B, 1 + N, D) normalised output tokens, [CLS] first; for a convolutional backbone
            the mean of the map stands in for [CLS].
        mask: (B, h · 2^u, w · 2^u) in [0, 1], a segmenter's foreground, or None.
        image_ids: B ids; none of a network's.
        image_sizes: (B, 2) int64, height and width in pixels, unpadded, or None.
        patch_size: side of a patch in image pixels.
        image_masks: B foregrounds (H, W) float32 in [0, 1], in pixels of the unpadded image, or
            None.
    """

    key: Tensor
    grid: tuple[int, int]
    cls_attention: Tensor | None = None
    query: Tensor | None = None
    value: Tensor | None = None
    cls_parts: Tensor | None = None
    tokens: Tensor | None = None
    mask: Tensor | None = None
    image_ids: list[int] = field(default_factory=list)
    image_sizes: np.ndarray | None = None
    patch_size: float = 1.0
    image_masks: list[np.ndarray] | None = None

    @property
    def sizes(self) -> np.ndarray:
        """(B, 2) int64, height and width of the images in pixels."""
        if self.image_sizes is None:
            return np.tile(np.array([self.grid]), (len(self.key), 1))
        return self.image_sizes

    @property
    def foregrounds(self) -> list[np.ndarray] | None:
        """B masks (r, c) float32 in [0, 1] that span their images, or None."""
        if self.image_masks is not None or self.mask is None:
            return self.image_masks
        return list(self.mask.detach().float().cpu().numpy())

    def select(self, images: Tensor) -> FeatureMaps:
        """Some of the images of a file's maps, by their positions (n,) int64."""
        rows = images.tolist()
        return replace(
            self,
            key=self.key[images],
            cls_attention=None if self.cls_attention is None else self.cls_attention[images],
            image_ids=[self.image_ids[row] for row in rows] if self.image_ids else [],
            image_sizes=self.sizes[rows],
            image_masks=(
                None if self.image_masks is None else [self.image_masks[row] for row in rows]
            ),
        )

    def in_pixels(self, boxes: np.ndarray) -> np.ndarray:
        """(B, 4) boxes in patches to pixels, right and bottom clipped to the unpadded image."""
        limits = np.tile(self.sizes[:, ::-1], 2)
        return np.minimum(boxes * self.patch_size, limits)
