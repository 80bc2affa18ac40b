"""Whether a result hangs on rounding: training from weights that are disturbed a little."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch.nn import Parameter

from ..options import option
from .loop import step_generator

_STEP = -(10**6)  # far from the numbers of steps and epochs, whose random numbers are others


@dataclass(frozen=True)
class PerturbationOptions:
    """How the first weights are disturbed."""

    perturbation: float = option(
        0.0,
        "relative size of normal noise on the first weights; 1e-6 is that of rounding",
        min=0,
        later=True,
    )


@torch.no_grad()
def perturb(parameters: Iterable[Parameter], relative: float, seed: int) -> None:
    """Multiply each weight by 1 + `relative` times a normal number, in place; 0 changes no bit."""
    if not relative:
        return
    generator = step_generator(seed, _STEP)
    for parameter in parameters:
        noise = torch.randn(parameter.shape, generator=generator).to(parameter)
        parameter.mul_(1 + relative * noise)
