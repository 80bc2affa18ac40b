"""The training of h: what it learns of which maps, how it begins, and its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ..backbones.base import Backbone
from ..backbones.options import BackboneOptions
from ..command_line.devices import seed_everything
from ..data.augmentation import AUGMENTATIONS, ChannelDropout
from ..data.index import Index
from ..data.loading import SquareImages
from ..detector.inputs_h5 import DetectorInputs
from ..detector.layout import layout_channels
from ..detector.networks import DetectorSpec, build_detector, initialize_trunk
from ..detector.set_loss import LossWeights, set_loss
from ..detector.targets import TargetRules, as_target_list, load_targets
from ..errors import InputError
from ..grounding.heatmap_inputs import HeatmapInputs, load_phrase_targets
from ..heuristics.registry import TrainingHeuristic
from ..options import all_recorded, option
from ..training.perturbation import PerturbationOptions
from ..training.plan import TrainingPlan
from ..training.run_options import TrainingOptions
from ..training.schedule import Clipping, Schedule
from .detector_batches import AugmentedBatches, BatchSource, CachedBatches

SCHEDULE = Schedule(steps=3000, batch_size=36, lr=1e-5)


@dataclass(frozen=True)
class Targets(TargetRules):
    """What h learns."""

    target_share: float = option(1.0, "of the boxes, those of highest score", above=0, max=1)
    min_images: int | None = option(
        None,
        "with boxes, below which nothing is learned [50 of one's own photographs, else 1]",
        unit="images",
        min=1,
        later=True,
    )


@dataclass(frozen=True)
class Augmentation(ChannelDropout):
    """How images, or what f makes of them, are changed at each step."""

    augmentation: str = option(
        "none",
        "none, of cached maps, or of images, which f sees at each step",
        choices=AUGMENTATIONS,
    )


@dataclass(frozen=True)
class AugmentedBackbone(BackboneOptions):
    """f, which --augmentation crop_flip runs."""

    weights: str | None = option(  # type: ignore[assignment]
        None, "f: a .safetensors file, or timm, random, efficientnet_lite0"
    )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How h is trained, and on what."""

    network: DetectorSpec
    targets: Targets
    augmentation: Augmentation
    schedule: Schedule = SCHEDULE
    clipping: Clipping
    loss_weights: LossWeights
    backbone: AugmentedBackbone
    heuristic: TrainingHeuristic
    start: PerturbationOptions
    training: TrainingOptions

    def recorded(self) -> dict[str, Any]:
        """What the provenance says, besides h, f and what `plan_training` says itself."""
        return all_recorded(self.targets, self.augmentation, self.start, loss=self.loss_weights)

    def find_targets(
        self, boxes: Path, dataset: Index, cached: DetectorInputs | HeatmapInputs
    ) -> tuple[Tensor, Tensor]:
        """Where among the inputs there are targets, and these: see `load_targets`, and of heatmaps
        `load_phrase_targets`.

        Raises:
            InputError: boxes and inputs are of other images than the index, or there is no target.
        """
        share, least = self.targets.target_share, self.targets.min_images or 1
        if isinstance(cached, HeatmapInputs):
            rows = list(zip(cached.image_id.tolist(), cached.phrase_id.tolist(), strict=True))
            if share != 1:
                raise InputError("--target-share: heatmaps' boxes are all learned; leave it at 1")
            return load_phrase_targets(boxes, dataset, rows, self.targets, self.network.num_boxes)
        if cached.image_id.tolist() != [image["id"] for image in dataset.images]:
            raise InputError(
                f"inputs {cached.path}: of other images than {dataset.path}; make them again"
            )
        return load_targets(boxes, dataset, share, least)

    def cached(
        self, cached: DetectorInputs | HeatmapInputs, positions: Tensor, targets: Tensor
    ) -> CachedBatches:
        """Batches of maps from a file, with what `find_targets` found."""
        flip = self.augmentation.augmentation == "flip_maps"
        dropout = self.augmentation.channel_dropout
        return CachedBatches(cached, positions, targets, self.network.layout, flip, dropout)

    def load_backbone(self, cached: DetectorInputs | HeatmapInputs) -> Backbone:
        """f, for images that are augmented.

        Raises:
            InputError: it is not given, or h reads heatmaps.
        """
        if isinstance(cached, HeatmapInputs):
            raise InputError("--augmentation of images: runs f, not g; use flip_maps or none")
        if self.backbone.weights is None:
            raise InputError("--augmentation of images: needs f; add --weights")
        return self.backbone.load(self.training.seed)

    def augmented(
        self, dataset: Index, cached: DetectorInputs | HeatmapInputs, f: Backbone
    ) -> AugmentedBatches:
        """Batches of f's maps of augmented images, otherwise like those of a file."""
        return AugmentedBatches(
            SquareImages(dataset, cached.image_size),
            f,
            cached.parts,
            self.network.layout,
            self.heuristic.method,
            self.heuristic.options,
            self.augmentation.channel_dropout,
            self.augmentation.augmentation == "native_crop_flip",
        )


def new_detector(
    options: DetectorSpec, cached: DetectorInputs | HeatmapInputs, init: Path | None, seed: int
) -> nn.Module:
    """h for these inputs, before training.

    Args:
        init: weights of a pretrained trunk; None for random ones.

    Raises:
        InputError: the maps cannot be cut into cells, or the weights do not fit.
    """
    if any(side % options.cell for side in cached.grid):
        raise InputError(
            f"--cell {options.cell}: does not divide maps of {cached.grid} ({cached.path})"
        )
    channels = layout_channels(cached.shape[0], cached.shape[2], options.layout)
    seed_everything(seed)
    detector = build_detector(replace(options, channels=channels))
    if init is not None:
        initialize_trunk(detector, init)
    return detector


def train_detector(
    fabric: Fabric,
    detector: nn.Module,
    source: BatchSource,
    loss_weights: LossWeights,
    plan: TrainingPlan,
) -> None:
    """Train h, in place, on the images of a source of batches."""
    schedule = plan.schedule
    optimizer = torch.optim.Adam(
        detector.parameters(), schedule.lr, weight_decay=schedule.weight_decay
    )
    model, optimizer = fabric.setup(detector.train(), optimizer)

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        maps, boxes_of_batch = source.batch(plan.indices(len(source), step), plan.generator(step))
        logits, predicted = model(fabric.to_device(maps))
        wanted = as_target_list(fabric.to_device(boxes_of_batch))
        yield set_loss(logits.float(), predicted.float(), wanted, loss_weights)
        if step + 1 < schedule.steps:
            source.prefetch(plan.indices(len(source), step + 1))

    plan.optimize(fabric, model, optimizer, loss, "training steps of h")
