"""Pretrain a small masked autoencoder on unlabelled images: the inpainter of train_segmenter.py.

Public MAE weights take its place at paper scale. No box, category or phrase of the index is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.command_line import cli
from bbr.command_line.devices import device_name, seed_everything
from bbr.data.augmentation import flip_images
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.move.inpainting import hide_patches, reconstruction_loss
from bbr.move.masked_autoencoder import AutoencoderSpec, MaskedAutoencoder, save_autoencoder
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.schedule import Schedule, add_training_options, pop_schedule

_SIZES = (
    "image_size", "patch_size", "dim", "depth", "heads", "decoder_dim", "decoder_depth",
    "decoder_heads",
)  # fmt: skip


def run(
    *,
    index: Path,
    output: Path,
    hidden: float,
    seed: int,
    checkpoint_seconds: float,
    device: str,
    precision: str,
    **rest: Any,
) -> None:
    """Train the autoencoder and write it to `output` (safetensors).

    Raises:
        InputError: sizes do not fit each other, or an image cannot be read.
    """
    schedule = pop_schedule(rest)
    spec = AutoencoderSpec(**{name: rest.pop(name) for name in _SIZES})
    fabric = launch(device, precision)
    seed_everything(seed)
    autoencoder = MaskedAutoencoder(spec)
    parameters = {
        "inpainter": vars(spec), "schedule": vars(schedule), "hidden": hidden, "seed": seed,
        "precision": precision,
    }  # fmt: skip
    record = provenance(
        "pretrain_inpainter", parameters, {"index": index}, device_name(fabric.device)
    )
    images = SquareImages(load_index(index), spec.image_size)
    trained = [p for p in autoencoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, schedule.lr, betas=(0.9, 0.95), weight_decay=schedule.weight_decay
    )
    model, optimizer = fabric.setup(autoencoder.train(), optimizer)
    model.mark_forward_method("reconstruct")

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        generator = step_generator(seed, step)
        chosen = batch_indices(len(images), schedule.batch_size, seed, step)
        pixels = fabric.to_device(flip_images(images.batch(chosen), generator)).float() / 255
        kept = hide_patches(len(pixels), spec.side, hidden, generator)
        drawn = model.reconstruct(pixels, fabric.to_device(kept))
        yield reconstruction_loss(drawn.float(), pixels, kept, spec)

    checkpoint = Checkpoint(output, record, checkpoint_seconds)
    optimize(model, loss, optimizer, schedule, checkpoint, fabric, "steps of the inpainter")
    save_autoencoder(output, autoencoder, record)
    checkpoint.discard()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    default = AutoencoderSpec()
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="weights, .safetensors")
    for name in _SIZES:
        value = getattr(default, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=cli.positive_int, default=value,
                            help=f"[{value}]")  # fmt: skip
    parser.add_argument("--hidden", type=cli.open_fraction, default=0.75,
                        help="share of the patches that is hidden [0.75]")  # fmt: skip
    add_training_options(
        parser,
        Schedule(
            steps=250000, batch_size=4096, lr=2.4e-3, weight_decay=0.05, warmup=12500,
            shape="cosine",
        ),
    )  # fmt: skip
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
