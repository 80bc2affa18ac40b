"""Pretrain a small masked autoencoder on unlabelled images: the inpainter of train_segmenter.py.

Public MAE weights take its place at paper scale. No box, category or phrase of the index is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.command_line import cli
from bbr.command_line.devices import seed_everything
from bbr.data.augmentation import flip_images
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.move.inpainting import hide_patches, reconstruction_loss
from bbr.move.masked_autoencoder import AutoencoderSpec, MaskedAutoencoder, save_autoencoder
from bbr.options import all_recorded, option
from bbr.training.distributed import launch
from bbr.training.plan import plan_training
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Schedule

SCHEDULE = Schedule(
    steps=250000, batch_size=4096, lr=2.4e-3, weight_decay=0.05, warmup=12500, lr_schedule="cosine"
)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="weights, .safetensors")


@dataclass(frozen=True)
class Task:
    """What is asked of it."""

    hidden: float = option(0.75, "share of the patches that is hidden", above=0, below=1)


def run(
    *,
    files: Files,
    spec: AutoencoderSpec,
    task: Task,
    schedule: Schedule = SCHEDULE,
    training: TrainingOptions,
) -> None:
    """Train the autoencoder and write it to `output` (safetensors).

    Raises:
        InputError: sizes do not fit each other, or an image cannot be read.
    """
    fabric = launch(training.device, training.precision)
    seed_everything(training.seed)
    autoencoder = MaskedAutoencoder(spec)
    parameters, sources = all_recorded(task, inpainter=spec), {"index": files.index}
    plan = plan_training(
        "pretrain_inpainter", fabric, files.output, schedule, training, parameters, sources
    )
    images = SquareImages(load_index(files.index), spec.image_size)
    trained = [p for p in autoencoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, schedule.lr, betas=(0.9, 0.95), weight_decay=schedule.weight_decay
    )
    model, optimizer = fabric.setup(autoencoder.train(), optimizer)
    model.mark_forward_method("reconstruct")

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        generator, chosen = plan.generator(step), plan.indices(len(images), step)
        pixels = fabric.to_device(flip_images(images.batch(chosen), generator)).float() / 255
        kept = hide_patches(len(pixels), spec.side, task.hidden, generator)
        drawn = model.reconstruct(pixels, fabric.to_device(kept))
        yield reconstruction_loss(drawn.float(), pixels, kept, spec)

    plan.optimize(fabric, model, optimizer, loss, "steps of the inpainter")
    save_autoencoder(files.output, autoencoder, plan.record)
    plan.checkpoint.discard()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
