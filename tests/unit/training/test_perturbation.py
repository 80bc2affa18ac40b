"""Weights disturbed by a relative amount."""

import torch
from torch import nn

from bbr.training.perturbation import perturb


def test_noise_is_relative_and_of_the_seed():
    weights = torch.tensor([1.0, -100.0, 0.0]).repeat(4000)
    first, second, other = (nn.Parameter(weights.clone()) for _ in range(3))
    perturb([first], 1e-3, seed=3)
    perturb([second], 1e-3, seed=3)
    perturb([other], 1e-3, seed=4)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    moved = (first.detach() / weights - 1)[weights != 0]
    # 8,000 normal numbers: their deviation is known to 0.8 %, so 5 % is six standard errors.
    assert abs(moved.std().item() / 1e-3 - 1) < 0.05
    assert torch.equal(first.detach()[weights == 0], torch.zeros(4000))


def test_nothing_changes_without_noise():
    weight = nn.Parameter(torch.tensor([0.1, 3.0]))
    perturb([weight], 0, seed=0)
    assert torch.equal(weight.detach(), torch.tensor([0.1, 3.0]))
