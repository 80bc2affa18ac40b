"""The parts of CAD in which Detectron2's R50-C4 differs from torchvision's Faster R-CNN."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import roi_align

from .options import TORCHVISION_BETA


class ProposalHead(RPNHead):
    """torchvision's, whose output stays float32 under mixed precision: it becomes coordinates."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps to objectness (B, A, h, w) and box deltas (B, 4A, h, w)."""
        objectness, deltas = super().forward(x)
        return [o.float() for o in objectness], [d.float() for d in deltas]


class ProposalNetwork(RegionProposalNetwork):
    """torchvision's, with a choice of the β of its smooth L1, which there is 1/9."""

    def __init__(self, *parts: Any, beta: float, **options: Any) -> None:
        super().__init__(*parts, **options)
        self.beta = beta

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: list[Tensor],
        regression_targets: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """The losses of the anchors that are drawn: of whether there is an object, and of boxes."""
        if self.beta == TORCHVISION_BETA:
            return super().compute_loss(objectness, pred_bbox_deltas, labels, regression_targets)
        drawn = [torch.where(torch.cat(d, dim=0))[0] for d in self.fg_bg_sampler(labels)]
        positive, every = drawn[0], torch.cat(drawn)
        box = functional.smooth_l1_loss(
            pred_bbox_deltas[positive],
            torch.cat(regression_targets)[positive],
            beta=self.beta,
            reduction="sum",
        )
        wanted = torch.cat(labels)[every]
        loss = functional.binary_cross_entropy_with_logits(objectness.flatten()[every], wanted)
        return loss, box / every.numel()


class RegionHeads(RoIHeads):
    """torchvision's, with the same choice."""

    def __init__(self, *parts: Any, beta: float, **options: Any) -> None:
        super().__init__(*parts, **options)
        self.beta = beta

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Detections of each image, or in training the losses."""
        if not self.training or self.beta == TORCHVISION_BETA:
            return super().forward(features, proposals, image_shapes, targets)
        proposals, _, labels, wanted = self.select_training_samples(proposals, targets)
        pooled = self.box_head(self.box_roi_pool(features, proposals, image_shapes))
        logits, deltas = self.box_predictor(pooled)
        of_all = torch.cat(labels)
        positive = torch.where(of_all > 0)[0]
        box = functional.smooth_l1_loss(
            deltas.view(len(deltas), -1, 4)[positive, of_all[positive]],
            torch.cat(wanted)[positive],
            beta=self.beta,
            reduction="sum",
        )
        loss = functional.cross_entropy(logits, of_all)
        return [], {"loss_classifier": loss, "loss_box_reg": box / of_all.numel()}


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
        DepthwiseConv.replace_in(level)
        self.level = level
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, regions: Tensor) -> Tensor:
        """(R, C, size, size) to (R, channels)."""
        hidden = self.level(regions.contiguous(memory_format=torch.channels_last))
        return self.norm(hidden).mean(dim=(2, 3))


class DepthwiseConv(nn.Module):
    """A depthwise convolution that reads only those taps of its kernel that meet its map.

    On maps of 2 × 2 the others see nothing but padding. On a CPU oneDNN's gradient with them, and
    with padding left to it, takes 17 to 30 times as long as this, which was half of CAD's training
    (`benchmarks/test_throughput.py`). The sums are the same but for their rounding.

    Args:
        conv: whose weights this takes; see `fits`.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, h, w)."""
        middle = [side // 2 for side in self.weight.shape[-2:]]
        high, wide = (min(m, side - 1) for m, side in zip(middle, maps.shape[-2:], strict=True))
        rows = slice(middle[0] - high, middle[0] + high + 1)
        columns = slice(middle[1] - wide, middle[1] + wide + 1)
        padded = functional.pad(maps, (wide, wide, high, high))
        taps = self.weight[:, :, rows, columns]
        return functional.conv2d(padded, taps, self.bias, groups=len(self.weight))

    @staticmethod
    def fits(module: nn.Module) -> TypeGuard[nn.Conv2d]:
        """Whether a module is depthwise, of an odd kernel larger than a pixel, and its output as
        large as its input."""
        return (
            type(module) is nn.Conv2d
            and 1 < module.in_channels == module.out_channels == module.groups
            and module.stride == module.dilation == (1, 1)
            and module.kernel_size != (1, 1)
            and all(side % 2 for side in module.kernel_size)
            and module.padding == tuple(side // 2 for side in module.kernel_size)
            and module.padding_mode == "zeros"
        )

    @classmethod
    def replace_in(cls, module: nn.Module) -> None:
        """Put one in the place of every convolution that fits."""
        for name, child in module.named_children():
            if cls.fits(child):
                setattr(module, name, cls(child))
            else:
                cls.replace_in(child)


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
