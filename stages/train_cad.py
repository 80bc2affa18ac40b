"""Train CAD, the class-agnostic detector of Table 4, on the pseudo-boxes of a dataset.

Defaults are those of the paper's CAD rows (PROTOCOL section 1): a ResNet-50 C4 Faster R-CNN.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import bbr.command_line.fast_import

import torch
from lightning_fabric import Fabric
from timm.layers import convert_sync_batchnorm
from torch import Tensor

from bbr.cad.batches import CadBatches, PseudoLabelled
from bbr.cad.network import Cad, build_cad, save_cad
from bbr.cad.options import CadSpec, CadTraining
from bbr.command_line import cli
from bbr.command_line.devices import device_name, seed_everything
from bbr.data.index import load_index
from bbr.errors import InputError
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch, run_in_processes
from bbr.training.loop import optimize, step_generator
from bbr.training.schedule import Schedule, add_training_options, pop_schedule

T = TypeVar("T", CadSpec, CadTraining)
_NOT_FILES = ("efficientnet_lite0",)


def run(
    *,
    index: Path,
    boxes: Path,
    output: Path,
    init: str | None,
    momentum: float,
    max_gradient_norm: float | None,
    seed: int,
    checkpoint_seconds: float,
    device: str,
    devices: int,
    precision: str,
    **rest: Any,
) -> None:
    """Train CAD and write it to `output` (safetensors).

    Raises:
        InputError: boxes and index do not belong together, or an option is bad.
    """
    schedule = pop_schedule(rest)
    spec, training = _take(CadSpec, rest), _take(CadTraining, rest)
    if schedule.batch_size % devices:
        raise InputError(
            f"--batch-size {schedule.batch_size} must be divisible by --devices {devices}"
        )
    fabric = launch(device, precision, devices)
    seed_everything(seed)
    network = build_cad(spec, init, training)
    file = None if init is None or init in _NOT_FILES else Path(init).expanduser()
    parameters = {
        "cad": asdict(spec), "training": asdict(training), "schedule": vars(schedule),
        "momentum": momentum, "max_gradient_norm": max_gradient_norm, "devices": devices,
        "init": init if file is None else "file", "seed": seed, "precision": precision,
    }  # fmt: skip
    sources = {"index": index, "boxes": boxes, "init": file}
    record = provenance("train_cad", parameters, sources, device_name(fabric.device))
    data = PseudoLabelled(load_index(index), str(boxes))
    checkpoint = Checkpoint(output, record, checkpoint_seconds)
    work = partial(
        _train, data=data, schedule=schedule, momentum=momentum,
        max_gradient_norm=max_gradient_norm, seed=seed, checkpoint=checkpoint, output=output,
        record=record,
    )  # fmt: skip
    # As an argument of its own the network is copied for each process, not shared between them.
    run_in_processes(fabric, work, network)
    checkpoint.discard()


def _take(kind: type[T], options: dict[str, Any]) -> T:
    """Pop the options that are the fields of `kind`."""
    values = {field.name: options.pop(field.name) for field in fields(kind)}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _train(
    fabric: Fabric,
    network: Cad,
    *,
    data: PseudoLabelled,
    schedule: Schedule,
    momentum: float,
    max_gradient_norm: float | None,
    seed: int,
    checkpoint: Checkpoint,
    output: Path,
    record: dict[str, Any],
) -> None:
    """One process's part of the training; the first process writes the result."""
    synchronize_norms(network, fabric)
    optimizer = torch.optim.SGD(
        network.parameter_groups(schedule.weight_decay), schedule.lr, momentum
    )
    network.train()
    wrapped, optimizer = fabric.setup(network, optimizer)
    batches = CadBatches(data, schedule.batch_size, seed, fabric.global_rank, fabric.world_size)
    with fabric.autocast():
        batches.keep(network, schedule.steps)

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        generator = step_generator(seed, step * fabric.world_size + fabric.global_rank)
        # torchvision draws sizes, anchors and regions from the generator that all share.
        torch.manual_seed(generator.initial_seed())
        with fabric.autocast():
            seen = batches.batch(step, generator, network)
        yield wrapped(seen)

    optimize(
        wrapped, loss, optimizer, schedule, checkpoint, fabric, "training steps of CAD",
        max_gradient_norm=max_gradient_norm,
    )  # fmt: skip
    if fabric.is_global_zero:
        save_cad(output, network, record)


def synchronize_norms(network: Cad, fabric: Fabric) -> None:
    """Batch norms that are trained take their statistics from all GPUs (SyncBN).

    torch has no such norm for CPU processes, which keep one of their own each.
    """
    if fabric.world_size == 1 or fabric.device.type != "cuda":
        return
    for place in range(network.spec.frozen_levels, len(network.levels)):
        network.levels[place] = convert_sync_batchnorm(network.levels[place])
    network.roi_heads.box_head = convert_sync_batchnorm(network.roi_heads.box_head)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--boxes", type=Path, required=True, help="pseudo-boxes, boxes.json")
    parser.add_argument("--output", type=Path, required=True, help="CAD, .safetensors")
    parser.add_argument("--init", help="pretrained network: a .safetensors or torch file of"
                        " torchvision's layout, or efficientnet_lite0 [random]")  # fmt: skip
    _add_network_options(parser)
    add_training_options(
        parser, Schedule(steps=24000, batch_size=16, lr=0.02, warmup=100, shape="step")
    )
    parser.add_argument("--momentum", type=float, default=0.9, help="of SGD [0.9]")
    parser.add_argument("--max-gradient-norm", type=float,
                        help="longer gradients are shortened to it [not]")  # fmt: skip
    parser.add_argument("--devices", type=cli.positive_int, default=1,
                        help="GPUs, or CPU processes [1]")  # fmt: skip
    return cli.execute(run, parser, argv)


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    """Options for every field of `CadSpec` and `CadTraining`."""
    spec, training = CadSpec(), CadTraining()
    number = cli.positive_int
    parser.add_argument("--network", default=spec.network, help="a network of timm's [resnet50]")
    parser.add_argument("--map-level", type=int, default=spec.map_level,
                        help="of the map that regions are cut from [4: C4]")  # fmt: skip
    parser.add_argument("--frozen-levels", type=int, default=spec.frozen_levels,
                        help="first levels that stay as they are [2: stem and res2]")  # fmt: skip
    parser.add_argument("--roi-size", type=number, default=spec.roi_size)
    parser.add_argument("--anchor-sizes", type=number, nargs="+", default=spec.anchor_sizes)
    parser.add_argument("--anchor-ratios", type=float, nargs="+", default=spec.anchor_ratios)
    parser.add_argument("--max-size", type=number, default=spec.max_size,
                        help="longest side of a resized image [1333]")  # fmt: skip
    parser.add_argument("--train-sizes", type=number, nargs="+", default=training.train_sizes,
                        help="shortest side, drawn from these [480 512 ... 800]")  # fmt: skip
    parser.add_argument("--train-proposals", type=number, nargs=2, metavar=("BEFORE", "AFTER"),
                        default=training.train_proposals, help="NMS [12000 2000]")  # fmt: skip
    parser.add_argument("--rpn-batch", type=number, default=training.rpn_batch,
                        help="anchors of an image to learn from [256]")  # fmt: skip
    parser.add_argument("--roi-batch", type=number, default=training.roi_batch,
                        help="regions of an image to learn from [512]")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
