"""The training of CAD: how it goes down, each process's part of it, and its batch norms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from timm.layers import convert_sync_batchnorm
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ..options import option
from ..training.plan import TrainingPlan
from .batches import CadBatches, PseudoLabelled
from .network import Cad, Seen, save_cad


@dataclass(frozen=True)
class Descent:
    """How SGD goes."""

    momentum: float = option(0.9, "of SGD", min=0, below=1)
    max_gradient_norm: float | None = option(
        None, "longer gradients are shortened to it [not]", above=0
    )
    precise_norm_batches: int = option(
        0,
        "after training, over which batch norms gather their statistics anew, as Detectron2's"
        " PRECISE_BN does",
        unit="batches",
        min=0,
        later=True,
    )


def train_cad(
    fabric: Fabric, network: Cad, data: PseudoLabelled, descent: Descent, plan: TrainingPlan
) -> None:
    """One process's part of the training; the first process writes the result."""
    schedule = plan.schedule
    synchronize_norms(network, fabric)
    optimizer = torch.optim.SGD(
        network.parameter_groups(schedule.weight_decay), schedule.lr, descent.momentum
    )
    network.train()
    wrapped, optimizer = fabric.setup(network, optimizer)
    size, rank, processes = schedule.batch_size, fabric.global_rank, fabric.world_size
    batches = CadBatches(data, size, plan.seed, rank, processes)
    with fabric.autocast():
        batches.cache_features(network, schedule.steps)

    def see(step: int) -> Seen:
        generator = plan.generator(step * processes + rank)
        # torchvision draws sizes, anchors and regions from the generator that all share.
        torch.manual_seed(generator.initial_seed())
        with fabric.autocast():
            return batches.batch(step, generator, network)

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        yield wrapped(see(step))

    plan.optimize(fabric, wrapped, optimizer, loss, "training steps of CAD")
    with torch.no_grad(), averaged_norms(network, descent.precise_norm_batches):
        for batch in range(descent.precise_norm_batches):
            wrapped(see(schedule.steps + batch))
    if fabric.is_global_zero:
        save_cad(plan.output, network, plan.record)


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
