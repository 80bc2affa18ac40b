"""The images of a step of MOVE's training, and what f makes of them."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional

from ..command_line.cli import progress
from ..data.augmentation import crop_and_flip
from ..data.loading import SquareImages
from .segmenter_training import Seen, SegmenterTraining

_KEPT_BYTES = 4 * 2**30


class SegmenterBatches:
    """Images as f and the inpainter see them.

    But for crops, f's planes of all images are kept, made in an order of their own so that a
    resumed run has the same bits; mirroring a plane stands in for mirroring its image.
    """

    def __init__(
        self,
        images: SquareImages,
        drawn_size: int,
        augmentation: str,
        model: SegmenterTraining,
        fabric: Fabric,
    ) -> None:
        self.images, self.drawn_size, self.augmentation = images, drawn_size, augmentation
        self.model, self.fabric = model, fabric
        self._kept: Tensor | None = None

    def cache_features(self, size: int) -> None:
        """Keep f's planes of all images, where they can be and fit in memory."""
        count = len(self.images)
        one = self._plane(self.images.batch([0]))
        if self.augmentation == "crop_flip" or one.nbytes * count > _KEPT_BYTES:
            return
        parts = torch.arange(count).split(size)
        seen = progress(parts, len(parts), "batches observed")
        self._kept = torch.cat([self._plane(self.images.batch(part)).cpu() for part in seen])

    def batch(self, chosen: Tensor, generator: torch.Generator) -> Seen:
        """The images at these positions, augmented by `generator`."""
        images = self.images.batch(chosen)
        if self.augmentation == "crop_flip":
            images = crop_and_flip(images, generator)
            return Seen(self._plane(images), self._drawn(images))
        plane = self._plane(images) if self._kept is None else self._kept[chosen]
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        if self.augmentation == "flip_maps":
            mirrored = mirrored.view(-1, 1, 1, 1)
            plane = torch.where(mirrored.to(plane.device), plane.flip(2), plane)
            images = torch.where(mirrored, images.flip(-1), images)
        return Seen(self.fabric.to_device(plane), self._drawn(images))

    def _plane(self, images: Tensor) -> Tensor:
        with self.fabric.autocast():
            return self.model.observe(self.fabric.to_device(images)).float()

    def _drawn(self, images: Tensor) -> Tensor:
        pixels = self.fabric.to_device(images).float() / 255
        if pixels.shape[-1] == self.drawn_size:
            return pixels
        size = (self.drawn_size, self.drawn_size)
        return functional.interpolate(pixels, size, mode="bilinear", antialias=True)
