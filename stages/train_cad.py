"""Train CAD, the class-agnostic detector of Table 4, on the pseudo-boxes of a dataset.

Defaults are those of the paper's CAD rows (docs/protocol.md#cad): a ResNet-50 C4 Faster R-CNN.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch
from lightning_fabric import Fabric
from timm.layers import convert_sync_batchnorm
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bbr.cad.batches import CadBatches, PseudoLabelled
from bbr.cad.network import Cad, Seen, build_cad, save_cad
from bbr.cad.options import CadSpec, CadTraining
from bbr.command_line import cli
from bbr.command_line.devices import device_name, seed_everything
from bbr.data.index import load_index
from bbr.options import option, recorded
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch, run_in_processes
from bbr.training.loop import optimize, step_generator
from bbr.training.perturbation import PerturbationOptions, perturb
from bbr.training.run_options import ParallelOptions, TrainingOptions
from bbr.training.schedule import Schedule

_NOT_FILES = ("efficientnet_lite0",)


SCHEDULE = Schedule(steps=24000, batch_size=16, lr=0.02, warmup=100, lr_schedule="step")


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    boxes: Path = option(help="pseudo-boxes, boxes.json")
    output: Path = option(help="CAD, .safetensors")
    init: str | None = option(
        None,
        "pretrained network: a .safetensors or torch file of torchvision's layout, or"
        " efficientnet_lite0 [random]",
    )


@dataclass(frozen=True)
class Descent:
    """How SGD goes."""

    momentum: float = option(0.9, "of SGD", min=0, below=1)
    max_gradient_norm: float | None = option(
        None, "longer gradients are shortened to it [not]", above=0
    )
    precise_norm_batches: int = option(
        0, "after training, over which batch norms gather their statistics anew, as Detectron2's"
        " PRECISE_BN does", unit="batches", min=0, later=True,
    )  # fmt: skip


def run(
    *,
    files: Files,
    spec: CadSpec,
    options: CadTraining,
    schedule: Schedule = SCHEDULE,
    descent: Descent,
    parallel: ParallelOptions,
    start: PerturbationOptions,
    training: TrainingOptions,
) -> None:
    """Train CAD and write it to `output` (safetensors).

    Raises:
        InputError: boxes and index do not belong together, or an option is bad.
    """
    parallel.require_divisible(schedule.batch_size)
    fabric = launch(training.device, training.precision, parallel.devices)
    seed_everything(training.seed)
    network = build_cad(spec, files.init, options)
    perturb(network.parameters(), start.perturbation, training.seed)
    file = None
    if files.init is not None and files.init not in _NOT_FILES:
        file = Path(files.init).expanduser()
    parameters = {
        "cad": asdict(spec), "training": recorded(options), "schedule": recorded(schedule),
        **recorded(descent), **recorded(start), "devices": parallel.devices,
        "init": files.init if file is None else "file", "seed": training.seed,
        "precision": training.precision,
    }  # fmt: skip
    sources = {"index": files.index, "boxes": files.boxes, "init": file}
    record = provenance("train_cad", parameters, sources, device_name(fabric.device))
    data = PseudoLabelled(load_index(files.index), str(files.boxes))
    checkpoint = Checkpoint(files.output, record, training.checkpoint_seconds)
    work = partial(
        _train, data=data, schedule=schedule, descent=descent, seed=training.seed,
        checkpoint=checkpoint, output=files.output, record=record,
    )  # fmt: skip
    # As an argument of its own the network is copied for each process, not shared between them.
    run_in_processes(fabric, work, network)
    checkpoint.discard()


def _train(
    fabric: Fabric,
    network: Cad,
    *,
    data: PseudoLabelled,
    schedule: Schedule,
    descent: Descent,
    seed: int,
    checkpoint: Checkpoint,
    output: Path,
    record: dict[str, Any],
) -> None:
    """One process's part of the training; the first process writes the result."""
    synchronize_norms(network, fabric)
    optimizer = torch.optim.SGD(
        network.parameter_groups(schedule.weight_decay), schedule.lr, descent.momentum
    )
    network.train()
    wrapped, optimizer = fabric.setup(network, optimizer)
    batches = CadBatches(data, schedule.batch_size, seed, fabric.global_rank, fabric.world_size)
    with fabric.autocast():
        batches.cache_features(network, schedule.steps)

    def see(step: int) -> Seen:
        generator = step_generator(seed, step * fabric.world_size + fabric.global_rank)
        # torchvision draws sizes, anchors and regions from the generator that all share.
        torch.manual_seed(generator.initial_seed())
        with fabric.autocast():
            return batches.batch(step, generator, network)

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        yield wrapped(see(step))

    optimize(
        wrapped, loss, optimizer, schedule, checkpoint, fabric, "training steps of CAD",
        max_gradient_norm=descent.max_gradient_norm,
    )  # fmt: skip
    with torch.no_grad(), averaged_norms(network, descent.precise_norm_batches):
        for batch in range(descent.precise_norm_batches):
            wrapped(see(schedule.steps + batch))
    if fabric.is_global_zero:
        save_cad(output, network, record)


@contextmanager
def averaged_norms(network: Cad, batches: int) -> Iterator[None]:
    """Batch norms that are trained forget their statistics, and take the mean of those of the
    batches that are run within (PRECISE_BN); of 0 batches they keep what they have."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.training and batches]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a mean over all batches
    yield
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


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
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
