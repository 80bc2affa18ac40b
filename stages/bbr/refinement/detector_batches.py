"""Where h's training batches come from: cached maps, or f run on freshly augmented images."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import torch
from torch import Tensor

from ..backbones.base import Backbone
from ..data.augmentation import crop_and_flip, drop_channels, flip_maps
from ..data.loading import SquareImages
from ..detector.inputs_h5 import DetectorInputs
from ..detector.layout import arrange, extras_of_parts, parts_grid, stack_parts
from ..errors import InputError
from ..grounding.heatmap_inputs import HeatmapInputs
from ..heuristics.registry import extras_of_method, propose_targets


class BatchSource(Protocol):
    """Gives the batch of a step."""

    def __len__(self) -> int:
        """How many images there are to choose from."""

    def batch(self, positions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs of h in its layout, and targets cxcywh in fractions of the image.

        Targets are (B, 4), or (B, T, 4) as `targets.as_target_list` takes them.
        """

    def prefetch(self, positions: Tensor) -> None:
        """Begin to read what the next batch will have, while a device works on this one."""


class CachedBatches:
    """Maps of f, or heatmaps, from a file, mirrored or as they are; targets from boxes.json.

    Raises:
        InputError: mirroring is asked of maps that do not keep space as space.
    """

    def __init__(
        self,
        inputs: DetectorInputs | HeatmapInputs,
        positions: Tensor,
        targets: Tensor,
        layout: str,
        flip: bool = False,
        channel_dropout: float = 0.0,
    ) -> None:
        if flip and layout == "qkv_image":
            raise InputError(f"augmentation flip_maps: layout {layout} has no left and right")
        self.inputs, self.positions, self.targets = inputs, positions, targets
        self.layout, self.flip, self.channel_dropout = layout, flip, channel_dropout
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._coming: tuple[Tensor, Future[Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def prefetch(self, positions: Tensor) -> None:
        """See `BatchSource`."""
        self._coming = self._read(positions)

    def _read(self, positions: Tensor) -> tuple[Tensor, Future[Tensor]]:
        return positions, self._thread.submit(self.inputs.batch, self.positions[positions])

    def batch(self, positions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `BatchSource`; `positions` count what has a target."""
        coming, self._coming = self._coming, None
        if coming is None or not torch.equal(coming[0], positions):
            coming = self._read(positions)
        maps = coming[1].result()
        maps = drop_channels(maps, self.channel_dropout, generator)
        maps = arrange(maps, self.inputs.grid, self.layout)
        boxes = self.targets[positions]
        return flip_maps(maps, boxes, generator) if self.flip else (maps, boxes)


class AugmentedBatches:
    """f's maps of augmented images, targets from the heuristic on the same augmented images."""

    def __init__(
        self,
        images: SquareImages,
        backbone: Backbone,
        parts: str,
        layout: str,
        method: str,
        options: Any,
        channel_dropout: float = 0.0,
        native: bool = False,
    ) -> None:
        self.images, self.backbone, self.native = images, backbone, native
        self.parts, self.layout = parts, layout
        self.method, self.options = method, options
        self.channel_dropout = channel_dropout

    def __len__(self) -> int:
        return len(self.images)

    def prefetch(self, positions: Tensor) -> None:
        """See `BatchSource`."""
        if not self.native:
            self.images.prefetch(positions)

    @torch.no_grad()
    def batch(self, positions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `BatchSource`."""
        device = self.backbone.mean.device
        if self.native:
            images = self.images.native_crops(positions, generator).to(device)
        else:
            images = crop_and_flip(self.images.batch(positions).to(device), generator)
        extras = extras_of_parts(self.parts) | extras_of_method(self.method)
        maps = self.backbone(self.backbone.prepare(images), extras)
        targets = propose_targets(maps, self.method, self.options)
        inputs = stack_parts(maps, self.parts).float()
        inputs = drop_channels(inputs, self.channel_dropout, generator)
        return arrange(inputs, parts_grid(maps, self.parts), self.layout), targets
