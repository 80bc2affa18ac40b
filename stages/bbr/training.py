"""What every training loop shares: batches by step, schedules, checkpoints with exact resume."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch.multiprocessing import ProcessRaisedException

from .cli import add_device_options, log, positive_int, progress
from .devices import choose_device
from .errors import InputError
from .files import PatientFile, atomic_path
from .startup import loaded

_LOG_EVERY = 50
_FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed"}
# DETR clips at 0.1, DINO at 3; without a bound a single odd batch can undo a small network.
_MAX_GRADIENT_NORM = 1.0

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "cosine", "polynomial", "step")
# Shares of all steps after which the shape `step` divides the rate by 10: CAD's 18k and 22k of 24k.
_STEP_ENDS = (3 / 4, 11 / 12)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        steps: optimizer steps.
        batch_size: images per step, over all devices and accumulated parts.
        lr: peak learning rate.
        weight_decay: Adam's, as an L2 term (paper section 5).
        warmup: steps of linear warm-up.
        shape: after the warm-up `constant`, `cosine`, `polynomial` (of power 2) or `step` (a tenth
            after 3/4 of all steps, and a hundredth after 11/12).
    """

    steps: int
    batch_size: int
    lr: float
    weight_decay: float = 1e-4
    warmup: int = 0
    shape: str = "constant"

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.shape == "constant":
            return self.lr
        if self.shape == "step":
            return self.lr / 10 ** sum(step >= end * self.steps for end in _STEP_ENDS)
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        if self.shape == "polynomial":
            return self.lr * (1 - done) ** 2
        return self.lr * (math.cos(math.pi * done) + 1) / 2


def add_training_options(parser: argparse.ArgumentParser, defaults: Schedule) -> None:
    """Options of every stage that trains: `Schedule`'s fields, checkpoints, seed and device."""
    parser.add_argument("--steps", type=positive_int, default=defaults.steps)
    parser.add_argument("--batch-size", type=positive_int, default=defaults.batch_size)
    parser.add_argument("--lr", type=float, default=defaults.lr, help="peak learning rate")
    parser.add_argument("--weight-decay", type=float, default=defaults.weight_decay)
    parser.add_argument("--warmup", type=int, default=defaults.warmup, help="steps")
    parser.add_argument("--schedule", choices=SCHEDULES, default=defaults.shape)
    parser.add_argument("--checkpoint-seconds", type=float, default=60,
                        help="how often training state is saved [60]")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    add_device_options(parser)


def pop_schedule(options: dict[str, Any]) -> Schedule:
    """Take the `Schedule` that `add_training_options` added out of parsed options."""
    names = ("steps", "batch_size", "lr", "weight_decay", "warmup")
    return Schedule(**{name: options.pop(name) for name in names}, shape=options.pop("schedule"))


def add_optimizer_options(parser: argparse.ArgumentParser) -> None:
    """Options for `build_optimizer`."""
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adam",
                        help="weight decay as an L2 term, or decoupled [adam]")  # fmt: skip
    parser.add_argument("--beta2", type=float, default=0.999,
                        help="of Adam's second moments [0.999]")  # fmt: skip


def build_optimizer(
    name: str, schedule: Schedule, beta2: float, parameters: list[nn.Parameter]
) -> torch.optim.Optimizer:
    """Adam or AdamW with betas (0.9, beta2)."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    return kind(parameters, schedule.lr, betas=(0.9, beta2), weight_decay=schedule.weight_decay)


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


def launch(device: str, precision: str, devices: int = 1) -> Fabric:
    """Fabric on the device and in the arithmetic that the command line asks for.

    With several devices, the caller runs its work through `run_in_processes`.
    """
    return Fabric(
        accelerator=choose_device(device).type,
        devices=devices,
        # Where only keys are read, what follows them in f gets no gradient.
        strategy=(
            "auto"
            if devices == 1
            else DDPStrategy(start_method="spawn", find_unused_parameters=True)
        ),
        precision=_FABRIC_PRECISION[precision],
        # A job of SLURM's is one task that starts its processes itself, wherever it was submitted.
        plugins=[LightningEnvironment()],
    )


def run_in_processes(fabric: Fabric, work: Callable[..., None], *arguments: Any) -> None:
    """Call `work(fabric, *arguments)` in a process for each device, or here where there is one.

    Raises:
        InputError: one of the processes did.
    """
    try:
        fabric.launch(_work_in_process, torch.get_num_threads(), work, *arguments)
    except ProcessRaisedException as error:
        # Other processes' exceptions arrive as text, the last line of which names the kind.
        kind, _, message = str(error).strip().splitlines()[-1].partition(": ")
        if kind.startswith("bbr."):
            raise InputError(message) from error
        raise


def _work_in_process(
    fabric: Fabric, threads: int, work: Callable[..., None], *arguments: Any
) -> None:
    """A new process has neither log nor limit of threads yet; one of them tells for all."""
    loaded()
    torch.set_num_threads(threads)
    if fabric.is_global_zero:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    work(fabric, *arguments)


def optimize(
    model: nn.Module,
    loss: Callable[[int], Iterator[dict[str, Tensor]]],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    checkpoint: Checkpoint,
    fabric: Fabric,
    what: str,
    after_step: Callable[[int], None] = lambda step: None,
    max_gradient_norm: float | None = _MAX_GRADIENT_NORM,
) -> None:
    """The training loop of every stage; `model` and `optimizer` come from `fabric.setup`.

    Resumes from the checkpoint where there is one that fits: a killed and resumed run ends with
    the same weights as an unbroken one.

    Args:
        model: all that is trained, and all state that a resumed run needs.
        loss: gives the losses of each accumulated part of a step's batch, one part at a time;
            `total` is minimised, the other entries are logged.
        after_step: called with the step's number once the optimizer has stepped.
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
        after_step(step)
        if step % _LOG_EVERY == 0 and fabric.is_global_zero:
            log.info("step %d %s", step, " ".join(f"{k} {v.item():.4g}" for k, v in part.items()))
        if fabric.is_global_zero:
            checkpoint.save_when_due(step + 1, model, optimizer)


class Checkpoint:
    """A training run's state on disk, beside its output, until the output exists.

    The file carries a fingerprint of what determines the run; a checkpoint of other parameters
    or inputs, or a damaged one, is ignored and training starts anew.
    """

    def __init__(self, output: Path | str, identity: dict[str, Any], every_seconds: float) -> None:
        output = Path(output)
        self.path = output.with_name(f".{output.name}.checkpoint.pt")
        self.every_seconds = every_seconds
        encoded = json.dumps(identity, sort_keys=True).encode()
        self.fingerprint = hashlib.sha256(encoded).hexdigest()
        self._last = time.monotonic()

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Load the saved state into both and return how many steps it holds; 0 without one."""
        if not self.path.exists():
            return 0
        try:
            _require_undamaged(self.path)
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged archive
            log.warning("%s: unreadable checkpoint ignored (%s)", self.path, type(error).__name__)
            return 0
        if not isinstance(state, dict) or state.get("fingerprint") != self.fingerprint:
            log.warning("%s: checkpoint of another run ignored", self.path)
            return 0
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        log.info("resuming after step %d from %s", state["step"], self.path)
        return state["step"]

    def save_when_due(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Save the state after `step` steps if `every_seconds` have passed since the last save."""
        if time.monotonic() - self._last < self.every_seconds:
            return
        state = {
            "fingerprint": self.fingerprint,
            "step": step,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        with atomic_path(self.path) as temporary, PatientFile(temporary, "w") as file:
            torch.save(state, file)
            file.check()
        self._last = time.monotonic()

    def discard(self) -> None:
        """Remove the file, once the output stands."""
        self.path.unlink(missing_ok=True)


def _require_undamaged(path: Path) -> None:
    """Check the sums that torch writes with each tensor, and does not look at when it reads."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(damaged)
