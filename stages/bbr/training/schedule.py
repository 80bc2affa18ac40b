"""How long and how fast to train, and the options that say so."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..command_line.cli import add_device_options, positive_int

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
