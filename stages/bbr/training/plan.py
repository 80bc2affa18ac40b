"""The plan of one training: how it goes, where its state and its result lie, what is said of it.

Every stage that trains makes one of its options by `plan_training`, and trains by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ..command_line.devices import device_name
from ..options import all_recorded
from ..storage.provenance import provenance
from .checkpoint import Checkpoint
from .loop import batch_indices, optimize, step_generator
from .run_options import TrainingOptions
from .schedule import Clipping, Schedule

_CLIPPING = Clipping()


@dataclass(frozen=True)
class TrainingPlan:
    """What a training needs besides networks and data; as a whole it goes to other processes.

    Attributes:
        output: file of the result.
        record: its provenance.
        schedule: how long and how fast.
        seed: of all random numbers.
        checkpoint: the state on disk, until the result is there.
        max_gradient_norm: longer gradients are shortened to it; None leaves them as they are.
    """

    output: Path
    record: dict[str, Any]
    schedule: Schedule
    seed: int
    checkpoint: Checkpoint
    max_gradient_norm: float | None

    def generator(self, step: int, rank: int = 0) -> torch.Generator:
        """The random numbers of a step; see `step_generator`."""
        return step_generator(self.seed, step, rank)

    def indices(self, count: int, step: int) -> Tensor:
        """Which of `count` images a step sees: (batch_size,) int64; see `batch_indices`."""
        return batch_indices(count, self.schedule.batch_size, self.seed, step)

    def optimize(
        self,
        fabric: Fabric,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Callable[[int], Iterator[dict[str, Tensor]]],
        what: str,
        after_step: Callable[[int], bool | None] = lambda step: None,
    ) -> None:
        """Train; see `loop.optimize`."""
        optimize(
            model,
            loss,
            optimizer,
            self.schedule,
            self.checkpoint,
            fabric,
            what,
            after_step,
            self.max_gradient_norm,
        )


def plan_training(
    stage: str,
    fabric: Fabric,
    output: Path,
    schedule: Schedule,
    training: TrainingOptions,
    parameters: dict[str, Any],
    inputs: dict[str, Path | str | None],
    clipping: Clipping = _CLIPPING,
) -> TrainingPlan:
    """The plan of a stage's training.

    Args:
        parameters: what its provenance says of all its options but these; see `all_recorded`.
        inputs: the files that it reads, by role; None where there is none.

    Raises:
        OSError: one of them cannot be read.
    """
    parameters = parameters | all_recorded(training, clipping, schedule=schedule)
    record = provenance(stage, parameters, inputs, device_name(fabric.device))
    checkpoint = Checkpoint(output, record, training.checkpoint_seconds)
    longest = clipping.max_gradient_norm
    return TrainingPlan(output, record, schedule, training.seed, checkpoint, longest)
