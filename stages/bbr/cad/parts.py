"""The parts of CAD in which Detectron2's R50-C4 differs from torchvision's Faster R-CNN."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import roi_align


class ProposalHead(RPNHead):
    """torchvision's, whose output stays float32 under mixed precision: it becomes coordinates."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps to objectness (B, A, h, w) and box deltas (B, 4A, h, w)."""
        objectness, deltas = super().forward(x)
        return [o.float() for o in objectness], [d.float() for d in deltas]


class RegionPool(nn.Module):
    """RoIAlign on the one map, sampled at cell centres (Detectron2's ROIAlignV2)."""

    def __init__(self, size: int, stride: int) -> None:
        super().__init__()
        self.size, self.stride = size, stride

    def forward(
        self, maps: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]
    ) -> Tensor:
        """Boxes `xyxy` of each image to (R, C, size, size), R boxes in all."""
        return roi_align(maps["map"], boxes, self.size, 1 / self.stride, aligned=True)


class RegionHead(nn.Module):
    """The last level (res5), an extra batch norm, and the mean over cells."""

    def __init__(self, level: nn.Module, channels: int) -> None:
        super().__init__()
        self.level = level
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, regions: Tensor) -> Tensor:
        """(R, C, size, size) to (R, channels)."""
        hidden = self.level(regions.contiguous(memory_format=torch.channels_last))
        return self.norm(hidden).mean(dim=(2, 3))


class BoxPredictor(nn.Module):
    """Two logits, background first, and box deltas for the object class alone, as Detectron2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(channels, 2)
        self.bbox_pred = nn.Linear(channels, 4)
        for layer, deviation in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(R, channels) to logits (R, 2) and deltas (R, 8), those of the background zero."""
        deltas = self.bbox_pred(features).float()
        return self.cls_score(features).float(), torch.cat((torch.zeros_like(deltas), deltas), 1)
