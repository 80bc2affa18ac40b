"""Train MOVE's segmenter on unlabelled images: a mask whose foreground can be moved (MOVE 2022).

The output is a backbone like any other, f with a mask head. No box, category or phrase of the
index is read.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import bbr.command_line.fast_import

from bbr.backbones.build import save_backbone
from bbr.backbones.masked import Segmenter
from bbr.backbones.options import BackboneOptions, weights_file
from bbr.command_line import cli
from bbr.command_line.devices import seed_everything
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.errors import InputError
from bbr.move.discriminator import ProjectedDiscriminator
from bbr.move.mask_losses import MaskLossWeights
from bbr.move.masked_autoencoder import load_autoencoder
from bbr.move.segmenter_training import SegmenterTraining
from bbr.move.training import Discriminator, Head, train_segmenter
from bbr.options import all_recorded, option
from bbr.training.distributed import launch
from bbr.training.plan import plan_training
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Schedule

SCHEDULE = Schedule(steps=26000, batch_size=32, lr=2e-4, weight_decay=0.0)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    inpainter: Path = option(help="autoencoder: of pretrain_inpainter.py, or MAE's .pth")
    output: Path = option(help="segmenter, .safetensors")


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
    judged = judge.load()
    seed_everything(seed)
    segmenter = head.on(f, backbone.weights)
    size, width = judge.discriminator_size, judge.discriminator_width
    discriminator = ProjectedDiscriminator(judged, size, width)
    parameters = all_recorded(
        head,
        backbone=backbone.recorded(f),
        loss=losses,
        segmenter=vars(segmenter.spec.segmenter),
        discriminator={**vars(judge), "architecture": judged.spec.architecture},
    )
    sources = {"index": files.index, "weights": backbone.file, "inpainter": files.inpainter}
    sources["discriminator_weights"] = weights_file(judge.discriminator_weights)
    plan = plan_training(
        "train_segmenter", fabric, files.output, schedule, training, parameters, sources
    )
    plan = replace(plan, max_gradient_norm=None)
    images = SquareImages(load_index(files.index), head.image_size)
    model = SegmenterTraining(segmenter, discriminator, autoencoder, losses, head.shift)
    drawn_size = autoencoder.spec.image_size
    train_segmenter(fabric, model, images, drawn_size, head.augmentation, plan)
    save_backbone(files.output, segmenter, plan.record)
    plan.checkpoint.discard()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
