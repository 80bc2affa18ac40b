"""The training loop of every stage, and which images and random numbers a step gets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ..command_line.cli import log, progress
from .checkpoint import Checkpoint
from .schedule import Schedule

_LOG_EVERY = 50
# DETR clips at 0.1, DINO at 3; without a bound a single odd batch can undo a small network.
_MAX_GRADIENT_NORM = 1.0


def step_generator(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """The random numbers of one step, whatever steps were run before it in this process.

    A resumed run therefore draws what an unbroken one would have drawn.

    Args:
        rank: the process, where several share a step and should not draw the same.
    """
    name = f"{seed}:{step}:{rank}" if rank else f"{seed}:{step}"
    digest = hashlib.sha256(name.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


def batch_indices(count: int, batch_size: int, seed: int, step: int) -> torch.Tensor:
    """Indices of the images of a step: (batch_size,) int64.

    Each epoch is a fresh permutation of all `count` images; a batch may span two epochs, so that
    none is short.
    """
    start = step * batch_size
    epochs = range(start // count, (start + batch_size - 1) // count + 1)
    order = torch.cat(
        [torch.randperm(count, generator=step_generator(seed, -1 - e)) for e in epochs]
    )
    offset = start - epochs[0] * count
    return order[offset : offset + batch_size]


def optimize(
    model: nn.Module,
    loss: Callable[[int], Iterator[dict[str, Tensor]]],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    checkpoint: Checkpoint,
    fabric: Fabric,
    what: str,
    after_step: Callable[[int], bool | None] = lambda step: None,
    max_gradient_norm: float | None = _MAX_GRADIENT_NORM,
) -> None:
    """The training loop of every stage; `model` and `optimizer` come from `fabric.setup`.

    Resumes from the checkpoint where there is one that fits: a killed and resumed run ends with
    the same weights as an unbroken one.

    Args:
        model: all that is trained, and all state that a resumed run needs.
        loss: gives the losses of each accumulated part of a step's batch, one part at a time;
            `total` is minimised, the other entries are logged.
        after_step: called with the step's number once the optimizer has stepped; says whether the
            training ends here. Such a step is not saved, so that a resumed run comes to it again.
        max_gradient_norm: longer gradients are shortened to it; None leaves them as they are.
    """
    start = checkpoint.resume(model, optimizer)
    for step in progress(range(start, schedule.steps), schedule.steps - start, what):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.zero_grad()
        for part in loss(step):
            fabric.backward(part["total"])
        if max_gradient_norm is not None:
            fabric.clip_gradients(model, optimizer, max_norm=max_gradient_norm)
        optimizer.step()
        over = after_step(step)
        if step % _LOG_EVERY == 0 and fabric.is_global_zero:
            log.info("step %d %s", step, " ".join(f"{k} {v.item():.4g}" for k, v in part.items()))
        if over:
            return
        if fabric.is_global_zero:
            checkpoint.save_when_due(step + 1, model, optimizer)
