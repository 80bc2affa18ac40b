"""What every training loop shares: batches by step, schedules, checkpoints with exact resume."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .cli import log
from .files import atomic_path

SCHEDULES = ("constant", "cosine")


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step, whatever steps were run before it in this process.

    A resumed run therefore draws what an unbroken one would have drawn.
    """
    digest = hashlib.sha256(f"{seed}:{step}".encode()).digest()
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


def learning_rate(schedule: str, base: float, step: int, steps: int, warmup: int = 0) -> float:
    """The rate at a step: linear warm-up over `warmup` steps, then constant or half a cosine."""
    if step < warmup:
        return base * (step + 1) / warmup
    if schedule == "constant":
        return base
    done = (step - warmup) / max(1, steps - warmup)
    return base * (math.cos(math.pi * done) + 1) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


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

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None where there is none that fits."""
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged archive
            log.warning("%s: unreadable checkpoint ignored (%s)", self.path, type(error).__name__)
            return None
        if state.get("fingerprint") != self.fingerprint:
            log.warning("%s: checkpoint of another run ignored", self.path)
            return None
        log.info("resuming at step %d from %s", state["step"], self.path)
        return state

    def save_when_due(self, step: int, state: Callable[[], dict[str, Any]]) -> None:
        """Save the state after `step` steps if `every_seconds` have passed since the last save."""
        if time.monotonic() - self._last < self.every_seconds:
            return
        with atomic_path(self.path) as temporary:
            torch.save({"fingerprint": self.fingerprint, "step": step, **state()}, temporary)
        self._last = time.monotonic()

    def discard(self) -> None:
        """Remove the file, once the output stands."""
        self.path.unlink(missing_ok=True)
