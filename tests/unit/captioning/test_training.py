"""The training of a small BLIP: its words and its loss."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from bbr.captioning.crops import Crop
from bbr.captioning.training import Telling, vocabulary_of


def test_every_word_once_in_order() -> None:
    crops = [
        Crop(0, (0, 0, 4, 4), (("A red mug", "mug"), ("a blue disc",))),
        Crop(1, (0, 0, 4, 4), ()),
    ]
    words = vocabulary_of(crops)
    assert words == tuple(sorted(set(words)))
    assert {"a", "red", "mug", "blue", "disc", "and"} <= set(words)


class Echo(nn.Module):
    """Gives back what it is asked with."""

    def forward(
        self, observed: torch.Tensor, tokens: torch.Tensor, **more: torch.Tensor
    ) -> SimpleNamespace:
        """The labels in the place of the loss."""
        return SimpleNamespace(loss=more["labels"])


def test_padding_is_nothing_to_learn() -> None:
    tokens, mask = torch.tensor([[5, 6, 0]]), torch.tensor([[1, 1, 0]])
    assert Telling(Echo())(torch.zeros(1), tokens, mask).tolist() == [[5, 6, -100]]
