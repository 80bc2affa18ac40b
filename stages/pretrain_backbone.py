"""Pretrain a small vision transformer on unlabelled images by self-distillation (DINO, iBOT).

The weights that ship in workflow/resources/scenes_vit.safetensors were made by this stage. No
box, category or phrase of the index is read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
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
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.schedule import Schedule, add_training_options, pop_schedule


def run(
    *,
    index: Path,
    output: Path,
    architecture: str,
    architecture_args: dict[str, Any],
    image_size: int,
    seed: int,
    checkpoint_seconds: float,
    device: str,
    precision: str,
    **rest: Any,
) -> None:
    """Train and write the teacher's weights to `output` (safetensors).

    Raises:
        InputError: the architecture is not a plain vision transformer.
    """
    schedule = pop_schedule(rest)
    options = PretrainingOptions(**rest)
    fabric = launch(device, precision)
    seed_everything(seed)
    spec = BackboneSpec(architecture, architecture_args, normalization="center")
    backbone = build_backbone(spec)
    if not isinstance(backbone, TransformerBackbone):
        raise InputError(f"architecture {architecture} is not a vision transformer")
    _check_crops(options, backbone.stride)
    parameters = {
        "backbone": vars(spec), "options": vars(options), "schedule": vars(schedule),
        "image_size": image_size, "seed": seed, "precision": precision,
    }  # fmt: skip
    record = provenance(
        "pretrain_backbone", parameters, {"index": index}, device_name(fabric.device)
    )
    images = SquareImages(load_index(index), image_size)
    model = Distillation(backbone, options)
    optimizer = torch.optim.AdamW(model.parameter_groups(schedule.weight_decay), schedule.lr)
    wrapped, optimizer = fabric.setup(model.train(), optimizer)

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        chosen = batch_indices(len(images), schedule.batch_size, seed, step)
        yield wrapped(fabric.to_device(images.batch(chosen)), step_generator(seed, step))

    checkpoint = Checkpoint(output, record, checkpoint_seconds)
    optimize(
        wrapped, loss, optimizer, schedule, checkpoint, fabric, "pretraining steps",
        after_step=lambda step: model.update_teacher(step / schedule.steps),
    )  # fmt: skip
    save_backbone(output, model.teacher, record)
    checkpoint.discard()


def _check_crops(options: PretrainingOptions, patch: int) -> None:
    for name in ("crop_size", "local_size"):
        if getattr(options, name) % patch:
            raise InputError(
                f"--{name.replace('_', '-')} {getattr(options, name)} is not a multiple of the"
                f" patch size, {patch}"
            )


def _add_crop_options(parser: argparse.ArgumentParser) -> None:
    defaults = PretrainingOptions()

    def add(name: str, kind: Callable[[str], Any], text: str, **rest: Any) -> None:
        value = getattr(defaults, name.replace("-", "_"))
        shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
        parser.add_argument(f"--{name}", type=kind, default=value, help=f"{text} [{shown}]", **rest)

    add("crop-size", cli.positive_int, "side of the two large crops, pixels")
    add("crop-scale", cli.positive_fraction, "their least and greatest area", nargs=2)
    add("local-crops", cli.non_negative_int, "small crops of each image")
    add("local-size", cli.positive_int, "their side, pixels")
    add("local-scale", cli.positive_fraction, "their least and greatest area", nargs=2)
    add("prototypes", cli.positive_int, "outputs of the projection head")
    add("momentum", cli.fraction, "of the teacher, at the start")


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="weights, .safetensors")
    parser.add_argument("--architecture", default="vit_tiny_patch16_224", help="a timm model")
    parser.add_argument("--architecture-args", type=parse_arguments, default={},
                        help="JSON of overrides for timm.create_model")  # fmt: skip
    parser.add_argument("--image-size", type=cli.positive_int, default=128)
    _add_crop_options(parser)
    add_training_options(
        parser,
        Schedule(steps=3600, batch_size=48, lr=1e-3, weight_decay=0.05, warmup=180, shape="cosine"),
    )
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
