"""Train MOVE's segmenter on unlabelled images: a mask whose foreground can be moved (MOVE 2022).

The output is a backbone like any other, f with a mask head. No box, category or phrase of the
index is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import torch
from lightning_fabric import Fabric
from torch import Tensor

from bbr.backbones.base import PACKAGED, Backbone, SegmenterSpec
from bbr.backbones.build import load_backbone, save_backbone
from bbr.backbones.cnn import ConvolutionalBackbone
from bbr.backbones.masked import Segmenter, full_upsamplings
from bbr.backbones.options import BackboneOptions, weights_file
from bbr.command_line import cli
from bbr.command_line.devices import device_name, seed_everything
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.errors import InputError
from bbr.move.batches import SegmenterBatches
from bbr.move.discriminator import ProjectedDiscriminator
from bbr.move.mask_losses import MaskLossWeights
from bbr.move.masked_autoencoder import load_autoencoder
from bbr.move.segmenter_training import SegmenterTraining
from bbr.options import option, recorded
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Schedule

SCHEDULE = Schedule(steps=26000, batch_size=32, lr=2e-4, weight_decay=0.0)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    inpainter: Path = option(help="autoencoder: of pretrain_inpainter.py, or MAE's .pth")
    output: Path = option(help="segmenter, .safetensors")


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


@dataclass(frozen=True)
class Discriminator:
    """Who judges composed images."""

    discriminator_weights: str = option("timm", "of its frozen network, as --weights")
    discriminator_architecture: str | None = option(None, "as --architecture")
    discriminator_size: int = option(224, "side of the images that it sees", unit="px", min=1)
    discriminator_width: int = option(64, "channels of its projected maps", min=1)


def run(
    *,
    files: Files,
    backbone: BackboneOptions,
    head: Head,
    losses: MaskLossWeights,
    judge: Discriminator,
    schedule: Schedule = SCHEDULE,
    training: TrainingOptions,
) -> None:
    """Train the segmenter and write it to `output` (safetensors).

    Raises:
        InputError: f is a segmenter already, the discriminator's network is not convolutional, or
            an option does not fit the others.
    """
    fabric = launch(training.device, training.precision)
    autoencoder = load_autoencoder(files.inpainter)
    seed, f = training.seed, backbone.load(training.seed)
    if isinstance(f, Segmenter):
        raise InputError(f"--weights {backbone.weights}: is a segmenter already; give its f")
    judged = _load_judge(judge)
    seed_everything(seed)
    segmenter = Segmenter(f, _segmenter_spec(head, f, backbone.weights))
    discriminator = ProjectedDiscriminator(
        judged, judge.discriminator_size, judge.discriminator_width
    )
    parameters = {
        "backbone": backbone.recorded(f), "schedule": recorded(schedule), "loss": vars(losses),
        "segmenter": vars(segmenter.spec.segmenter), **vars(head), "seed": seed,
        "discriminator": {**vars(judge), "architecture": judged.spec.architecture},
        "precision": training.precision,
    }  # fmt: skip
    sources = {
        "index": files.index, "weights": backbone.file, "inpainter": files.inpainter,
        "discriminator_weights": weights_file(judge.discriminator_weights),
    }  # fmt: skip
    record = provenance("train_segmenter", parameters, sources, device_name(fabric.device))
    checkpoint = Checkpoint(files.output, record, training.checkpoint_seconds)
    images = SquareImages(load_index(files.index), head.image_size)
    model = SegmenterTraining(segmenter, discriminator, autoencoder, losses, head.shift)
    _train(
        model,
        images,
        autoencoder.spec.image_size,
        head.augmentation,
        schedule,
        seed,
        checkpoint,
        fabric,
    )
    save_backbone(files.output, segmenter, record)
    checkpoint.discard()


def _train(
    model: SegmenterTraining,
    images: SquareImages,
    drawn_size: int,
    augmentation: str,
    schedule: Schedule,
    seed: int,
    checkpoint: Checkpoint,
    fabric: Fabric,
) -> None:
    """Train the segmenter and its discriminator in turns.

    Args:
        drawn_size: side of the images that the inpainter sees, in pixels.
    """
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
        generator = step_generator(seed, step)
        chosen = batch_indices(len(images), schedule.batch_size, seed, step)
        made = wrapped.compose(batches.batch(chosen, generator), generator)
        yield wrapped.discriminator_losses(made, generator)
        yield wrapped.segmenter_losses(made, step, generator)

    optimize(
        wrapped, loss, optimizer, schedule, checkpoint, fabric, "steps of the segmenter",
        max_gradient_norm=None,
    )  # fmt: skip


def _load_judge(options: Discriminator) -> ConvolutionalBackbone:
    """The frozen network of the discriminator."""
    judged = load_backbone(options.discriminator_weights, options.discriminator_architecture)
    if not isinstance(judged, ConvolutionalBackbone):
        raise InputError("--discriminator-weights: give a convolutional network")
    return judged


def _segmenter_spec(head: Head, f: Backbone, weights: str) -> SegmenterSpec:
    doublings = full_upsamplings(f.stride) if head.upsamplings is None else head.upsamplings
    return SegmenterSpec(doublings, head.min_width, weights if weights in PACKAGED else None)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
