"""How long and how fast to train."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from ..options import option

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "cosine", "polynomial", "step")
# Shares of all steps after which the shape `step` divides the rate by 10: CAD's 18k and 22k of 24k.
_STEP_ENDS = (3 / 4, 11 / 12)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    `polynomial` is of power 2; `step` is a tenth after 3/4 of all steps, a hundredth after 11/12,
    or as `decay_at` says.
    Weight decay is Adam's, as an L2 term (paper section 5).
    """

    steps: int = option(help="of the optimizer", min=1)
    batch_size: int = option(
        help="of a step, over all devices and accumulated parts", unit="images", min=1
    )
    lr: float = option(help="peak learning rate", min=0)
    weight_decay: float = option(1e-4, "of the weights", min=0)
    warmup: int = option(0, "over which the learning rate rises", unit="steps", min=0)
    lr_schedule: str = option(
        "constant",
        "learning rate after the warm-up",
        choices=SCHEDULES,
    )
    decay_steps: int | None = option(
        None, "after which cosine and polynomial would end [all]", unit="steps", min=1, later=True
    )
    decay_every: int = option(
        1,
        "for which the rate of cosine and polynomial stays the same",
        unit="steps",
        min=1,
        later=True,
    )
    decay_at: tuple[int, ...] = option(
        (),
        "after each of which the rate of step is a tenth [3/4 and 11/12 of all]",
        unit="steps",
        min=1,
        empty=True,
        later=True,
    )

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.lr_schedule == "constant":
            return self.lr
        if self.lr_schedule == "step":
            ends = self.decay_at or [end * self.steps for end in _STEP_ENDS]
            return self.lr / 10 ** sum(step >= end for end in ends)
        end = self.steps if self.decay_steps is None else self.decay_steps
        begun = max(self.warmup, step - step % self.decay_every)
        done = min(1.0, (begun - self.warmup) / max(1, end - self.warmup))
        if self.lr_schedule == "polynomial":
            return self.lr * (1 - done) ** 2
        return self.lr * (math.cos(math.pi * done) + 1) / 2


@dataclass(frozen=True)
class Clipping:
    """How long gradients may be. DETR clips at 0.1, DINO at 3, the paper's released code nowhere;
    without a bound a single odd batch can undo a small network."""

    max_gradient_norm: float | None = option(
        1.0,
        "longer gradients are shortened to it; none leaves them as they are",
        above=0,
        later=True,
    )


@dataclass(frozen=True)
class OptimizerOptions:
    """Which Adam."""

    optimizer: str = option(
        "adam", "weight decay as an L2 term, or decoupled (adamw)", choices=OPTIMIZERS
    )
    beta2: float = option(0.999, "of Adam's second moments", above=0, below=1)


def build_optimizer(
    name: str, schedule: Schedule, beta2: float, parameters: list[nn.Parameter]
) -> torch.optim.Optimizer:
    """Adam or AdamW with betas (0.9, beta2)."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    return kind(parameters, schedule.lr, betas=(0.9, beta2), weight_decay=schedule.weight_decay)
