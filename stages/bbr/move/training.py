"""The training of MOVE's segmenter: its head, who judges it, and the steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..backbones.base import PACKAGED, Backbone, SegmenterSpec
from ..backbones.build import load_backbone
from ..backbones.cnn import ConvolutionalBackbone
from ..backbones.masked import Segmenter, full_upsamplings
from ..data.loading import SquareImages
from ..errors import InputError
from ..options import option
from ..training.plan import TrainingPlan
from .batches import SegmenterBatches
from .segmenter_training import SegmenterTraining


@dataclass(frozen=True)
class Head:
    """The mask head, and what it sees."""

    image_size: int = option(224, "side of the images that f sees", unit="px", min=1)
    upsamplings: int | None = option(
        None, "doublings of the patch grid [log2 of the patch size]", min=0
    )
    min_width: int = option(128, "of the head's layers", unit="channels", min=1)
    augmentation: str = option(
        "crop_flip", "of images, or of f's maps", choices=("none", "flip_maps", "crop_flip")
    )
    shift: float = option(0.125, "greatest move of the foreground, of the side", above=0, below=1)

    def on(self, f: Backbone, weights: str) -> Segmenter:
        """f with a new head.

        Args:
            weights: where f's came from.
        """
        doublings = full_upsamplings(f.stride) if self.upsamplings is None else self.upsamplings
        package = weights if weights in PACKAGED else None
        return Segmenter(f, SegmenterSpec(doublings, self.min_width, package))


@dataclass(frozen=True)
class Discriminator:
    """Who judges composed images."""

    discriminator_weights: str = option("timm", "of its frozen network, as --weights")
    discriminator_architecture: str | None = option(None, "as --architecture")
    discriminator_size: int = option(224, "side of the images that it sees", unit="px", min=1)
    discriminator_width: int = option(64, "channels of its projected maps", min=1)

    def load(self) -> ConvolutionalBackbone:
        """Its frozen network.

        Raises:
            InputError: that is not convolutional.
        """
        judged = load_backbone(self.discriminator_weights, self.discriminator_architecture)
        if not isinstance(judged, ConvolutionalBackbone):
            raise InputError("--discriminator-weights: give a convolutional network")
        return judged


def train_segmenter(
    fabric: Fabric,
    model: SegmenterTraining,
    images: SquareImages,
    drawn_size: int,
    augmentation: str,
    plan: TrainingPlan,
) -> None:
    """Train the segmenter and its discriminator in turns.

    Args:
        drawn_size: side of the images that the inpainter sees, in pixels.
    """
    schedule = plan.schedule
    optimizer = torch.optim.Adam(
        model.parameter_groups(), schedule.lr, weight_decay=schedule.weight_decay
    )
    wrapped, optimizer = fabric.setup(model.train(), optimizer)
    for method in ("compose", "segmenter_losses", "discriminator_losses"):
        wrapped.mark_forward_method(method)
    batches = SegmenterBatches(images, drawn_size, augmentation, model, fabric)
    if schedule.steps * schedule.batch_size > len(images):
        batches.cache_features(schedule.batch_size)

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        generator, chosen = plan.generator(step), plan.indices(len(images), step)
        made = wrapped.compose(batches.batch(chosen, generator), generator)
        yield wrapped.discriminator_losses(made, generator)
        yield wrapped.segmenter_losses(made, step, generator)

    plan.optimize(fabric, wrapped, optimizer, loss, "steps of the segmenter")
