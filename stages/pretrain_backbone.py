"""Pretrain a small vision transformer on unlabelled images by self-distillation (DINO, iBOT).

The weights that ship in workflow/resources/scenes_vit.safetensors were made by this stage. No
box, category or phrase of the index is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone, save_backbone
from bbr.backbones.options import parse_arguments
from bbr.backbones.pretraining import Distillation, PretrainingOptions
from bbr.backbones.vit import TransformerBackbone
from bbr.command_line import cli
from bbr.command_line.devices import device_name, seed_everything
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.errors import InputError
from bbr.options import option, recorded
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Schedule

SCHEDULE = Schedule(
    steps=3600, batch_size=48, lr=1e-3, weight_decay=0.05, warmup=180, lr_schedule="cosine"
)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="weights, .safetensors")


@dataclass(frozen=True)
class Network:
    """The network, and what it sees."""

    architecture: str = option("vit_tiny_patch16_224", "a timm model")
    architecture_args: dict[str, Any] = option(
        {}, "JSON of overrides for timm.create_model", parse=parse_arguments
    )
    image_size: int = option(128, "side to which images are resized", unit="px", min=1)


def run(
    *,
    files: Files,
    network: Network,
    options: PretrainingOptions,
    schedule: Schedule = SCHEDULE,
    training: TrainingOptions,
) -> None:
    """Train and write the teacher's weights to `output` (safetensors).

    Raises:
        InputError: the architecture is not a plain vision transformer.
    """
    fabric = launch(training.device, training.precision)
    seed_everything(training.seed)
    spec = BackboneSpec(network.architecture, network.architecture_args, normalization="center")
    backbone = build_backbone(spec)
    if not isinstance(backbone, TransformerBackbone):
        raise InputError(f"architecture {network.architecture} is not a vision transformer")
    _check_crops(options, backbone.stride)
    parameters = {
        "backbone": vars(spec), "options": vars(options), "schedule": recorded(schedule),
        "image_size": network.image_size, "seed": training.seed, "precision": training.precision,
    }  # fmt: skip
    record = provenance(
        "pretrain_backbone", parameters, {"index": files.index}, device_name(fabric.device)
    )
    images = SquareImages(load_index(files.index), network.image_size)
    model = Distillation(backbone, options)
    optimizer = torch.optim.AdamW(model.parameter_groups(schedule.weight_decay), schedule.lr)
    wrapped, optimizer = fabric.setup(model.train(), optimizer)

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        chosen = batch_indices(len(images), schedule.batch_size, training.seed, step)
        yield wrapped(fabric.to_device(images.batch(chosen)), step_generator(training.seed, step))

    checkpoint = Checkpoint(files.output, record, training.checkpoint_seconds)
    optimize(
        wrapped, loss, optimizer, schedule, checkpoint, fabric, "pretraining steps",
        after_step=lambda step: model.update_teacher(step / schedule.steps),
    )  # fmt: skip
    save_backbone(files.output, model.teacher, record)
    checkpoint.discard()


def _check_crops(options: PretrainingOptions, patch: int) -> None:
    for name in ("crop_size", "local_size"):
        if getattr(options, name) % patch:
            raise InputError(
                f"--{name.replace('_', '-')} {getattr(options, name)} is not a multiple of the"
                f" patch size, {patch}"
            )


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
