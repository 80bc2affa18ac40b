"""CAD: the class-agnostic detector of Table 4's last rows, a Faster R-CNN on pseudo-boxes.

Detectron2's R50-C4 (docs/protocol.md#cad) from torchvision's parts: the region proposal network
reads C4, regions are cut from C4 to 14 × 14, and res5 with an extra batch norm is the head. Where
the parts differ from Detectron2's, they are torchvision's: smooth L1 has β = 1/9 rather than 0
unless told otherwise, and anchors are rounded to whole pixels.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from ..errors import InputError
from ..storage.safetensors_files import fit_weights, read_tensors, write_tensors
from .options import CadPrediction, CadSpec, CadTraining
from .parts import (
    BoxPredictor,
    ProposalHead,
    ProposalNetwork,
    RegionHead,
    RegionHeads,
    RegionPool,
)
from .trunk import Levels, build_levels

_OBJECT = 1  # the only class; 0 is the background


class Seen:
    """A batch of B resized images after the frozen levels.

    Neither a tuple nor a dataclass, of which Fabric would round the coordinates to bfloat16.

    Attributes:
        features: (B, C, h, w), zero-padded to the largest image before the first level.
        sizes: height and width of each resized image, without padding.
        padded: height and width with padding.
        boxes: (n, 4) `xyxy` targets of each image, resized with it; empty in prediction.
    """

    def __init__(
        self,
        features: Tensor,
        sizes: list[tuple[int, int]],
        padded: tuple[int, int],
        boxes: list[Tensor],
    ) -> None:
        self.features, self.sizes, self.padded, self.boxes = features, sizes, padded, boxes


class Cad(nn.Module):
    """The detector; `see` runs what is frozen, and `forward` the rest."""

    def __init__(
        self, spec: CadSpec, levels: Levels, training: CadTraining, prediction: CadPrediction
    ) -> None:
        super().__init__()
        self.spec = spec
        at = spec.map_level
        self._sizes = {True: training.train_sizes, False: (prediction.test_size,)}
        self.resize = GeneralizedRCNNTransform(
            training.train_sizes,
            spec.max_size,
            list(levels.mean),
            list(levels.std),
            size_divisible=levels.strides[at - 1],
        )
        self.levels = nn.ModuleList(levels.modules[:at])
        self.levels[: spec.frozen_levels].requires_grad_(False)
        channels = levels.channels[at - 1]
        per_cell = len(spec.anchor_sizes) * len(spec.anchor_ratios)
        self.rpn = ProposalNetwork(
            AnchorGenerator((spec.anchor_sizes,), (spec.anchor_ratios,)),
            ProposalHead(channels, per_cell),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=training.rpn_batch,
            positive_fraction=0.5,
            pre_nms_top_n=_top(training, prediction, 0),
            post_nms_top_n=_top(training, prediction, 1),
            nms_thresh=0.7,
            beta=training.smooth_l1_beta,
        )
        self.roi_heads = RegionHeads(
            RegionPool(spec.roi_size, levels.strides[at - 1]),
            RegionHead(levels.modules[at], levels.channels[at]),
            BoxPredictor(levels.channels[at]),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=training.roi_batch,
            positive_fraction=0.25,
            bbox_reg_weights=None,  # torchvision's default, which is Detectron2's
            score_thresh=prediction.score_threshold,
            nms_thresh=prediction.nms_threshold,
            detections_per_img=prediction.max_boxes,
            beta=training.smooth_l1_beta,
        )

    def train(self, mode: bool = True) -> Cad:
        """Frozen levels keep their batch statistics."""
        super().train(mode)
        self.levels[: self.spec.frozen_levels].eval()
        return self

    @torch.no_grad()
    def see(self, images: list[Tensor], boxes: list[Tensor] | None = None) -> Seen:
        """Resize, normalise and pad images, and run the frozen levels.

        Args:
            images: B of (3, H, W) uint8 RGB, on this network's device.
            boxes: B of (n, 4) `xyxy` in pixels.
        """
        self.resize.min_size = self._sizes[self.training]
        targets = None if boxes is None else [{"boxes": of_image} for of_image in boxes]
        batch, targets = self.resize([image.float() / 255 for image in images], targets)
        features = batch.tensors.contiguous(memory_format=torch.channels_last)
        for level in self.levels[: self.spec.frozen_levels]:
            features = level(features)
        resized = [] if targets is None else [target["boxes"] for target in targets]
        height, width = batch.tensors.shape[-2:]
        return Seen(features, batch.image_sizes, (height, width), resized)

    def forward(self, seen: Seen) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses and their `total` in training; else `boxes` and `scores` of each image.

        Boxes are `xyxy` in pixels of the resized images, best score first; `restore` takes them
        to those of the images.
        """
        features = seen.features
        for level in self.levels[self.spec.frozen_levels :]:
            features = level(features)
        features = features.float()  # anchors take their type from it, and are coordinates
        # Of the pixels, the anchors only ask for the shape.
        images = ImageList(features.new_empty(1).expand(1, 1, *seen.padded), seen.sizes)
        targets = None
        if self.training:
            targets = [
                {"boxes": boxes, "labels": boxes.new_full((len(boxes),), _OBJECT).long()}
                for boxes in seen.boxes
            ]
        maps = {"map": features}
        proposals, rpn_losses = self.rpn(images, maps, targets)
        detections, roi_losses = self.roi_heads(maps, proposals, seen.sizes, targets)
        if not self.training:
            return detections
        losses = {**rpn_losses, **roi_losses}
        return {**losses, "total": torch.stack(list(losses.values())).sum()}

    def restore(
        self, detections: list[dict[str, Tensor]], seen: Seen, sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Detections in pixels of the images, whose heights and widths are `sizes`."""
        return self.resize.postprocess(detections, seen.sizes, sizes)

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """What is trained, for SGD; as in Detectron2, batch norms are not decayed."""
        norms = [m for m in self.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        plain = {p for norm in norms for p in norm.parameters() if p.requires_grad}
        decayed = [p for p in self.parameters() if p.requires_grad and p not in plain]
        kept = [p for p in self.parameters() if p in plain]
        return [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ]


def _top(training: CadTraining, prediction: CadPrediction, place: int) -> dict[str, int]:
    """Proposals before (0) or after (1) NMS, as torchvision takes them."""
    return {
        "training": training.train_proposals[place],
        "testing": prediction.test_proposals[place],
    }


def build_cad(
    spec: CadSpec,
    init: str | None = None,
    training: CadTraining | None = None,
    prediction: CadPrediction | None = None,
) -> Cad:
    """CAD from its specification; `init` as `trunk.build_levels` takes it.

    Raises:
        InputError: the network or its weights do not fit, or a level is out of range.
    """
    if not 1 <= spec.map_level <= 4:
        raise InputError(f"map level {spec.map_level} is not 1, 2, 3 or 4: a head must follow it")
    if not 0 <= spec.frozen_levels <= spec.map_level:
        raise InputError(
            f"frozen levels {spec.frozen_levels} are not among the {spec.map_level} of the map"
        )
    levels = build_levels(spec.network, init)
    return Cad(spec, levels, training or CadTraining(), prediction or CadPrediction())


def save_cad(path: Path | str, network: Cad, provenance: dict[str, Any]) -> None:
    """Write CAD with its specification and provenance as safetensors."""
    metadata = {"cad": asdict(network.spec), "provenance": provenance}
    write_tensors(path, network.state_dict(), metadata)


def load_cad(path: Path | str, prediction: CadPrediction) -> Cad:
    """CAD from a file of `save_cad`, in evaluation mode.

    Raises:
        InputError: not such a file.
    """
    tensors, metadata = read_tensors(path)
    if "cad" not in metadata:
        raise InputError(f"{path}: holds no CAD; give a file made by train_cad.py")
    stored: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in metadata["cad"].items()
    }
    spec = CadSpec(**stored)
    network = build_cad(spec, prediction=prediction)
    fit_weights(network, tensors, str(path), f"{spec.network} (CAD)")
    return network.eval()
