"""Where h's training batches come from: cached maps, or f run on freshly augmented images."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torchvision.ops import box_convert

from .augmentation import crop_and_flip
from .backbones import Backbone
from .detector_inputs import DetectorInputs, arrange, stack_parts
from .heuristics import propose_training_boxes
from .image_batches import SquareImages


class BatchSource(Protocol):
    """Gives the batch of a step."""

    def batch(self, positions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs of h in its layout, and targets (B, 4) cxcywh in fractions of the image."""


class CachedBatches:
    """Maps from `detector_inputs.h5`, targets from boxes.json; no augmentation."""

    def __init__(
        self, inputs: DetectorInputs, positions: Tensor, targets: Tensor, layout: str
    ) -> None:
        self.inputs, self.positions, self.targets = inputs, positions, targets
        self.layout = layout

    def batch(self, positions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `BatchSource`; `positions` count the images that have a target."""
        maps = self.inputs.batch(self.positions[positions])
        return arrange(maps, self.inputs.grid, self.layout), self.targets[positions]


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
    ) -> None:
        self.images, self.backbone = images, backbone
        self.parts, self.layout = parts, layout
        self.method, self.options = method, options

    @torch.no_grad()
    def batch(self, positions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `BatchSource`."""
        images = crop_and_flip(self.images.batch(positions), generator)
        maps = self.backbone(self.backbone.prepare(images))
        boxes = propose_training_boxes(
            maps.key, maps.grid, self.method, self.options, maps.cls_attention
        )
        inputs = arrange(stack_parts(maps, self.parts).float(), maps.grid, self.layout)
        return inputs, box_convert(boxes, "xyxy", "cxcywh")
