"""Which state of f^h to keep, judged without ground truth.

A fraction of the training images is set aside: h may have been trained on them, f^h is not. Before
the first step, every few steps, and after the last, the heuristic's boxes on f^h's maps of these
images are compared with h's boxes on f's maps. The score of a state is their mean IoU, and the best
state is kept, unless its boxes fell apart: a state that is farther from h than f was, by more than
chance explains, is never kept. Where all are, the result is f itself; and so it is where h is too
far from the heuristic to begin with. It does not tell whether h sees the right object: no
annotation enters.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..options import option

SELECTIONS = ("last", "agreement")


@dataclass(frozen=True)
class SelectionOptions:
    """Which state of f^h becomes the output."""

    select: str = option(
        "last",
        "state of f^h to keep: the last, or that in which the heuristic's boxes are nearest to h's"
        " on images set aside; f itself, where all are farther than it was",
        choices=SELECTIONS,
    )
    select_every: int = option(10, "between two looks at that", unit="steps", min=1)
    select_fraction: float = option(
        0.1, "share of the images that is set aside for it", above=0, below=1
    )
    select_max_images: int = option(
        200, "set aside at most, since all of them are looked at each time", min=1, later=True
    )
    select_min_agreement: float = option(
        0.3,
        "mean IoU of h's and f's boxes below which h is not trusted, and f is kept",
        min=0,
        max=1,
    )

    def looks_after(self, step: int, steps: int) -> bool:
        """Whether states are compared once `step` of `steps` steps have been taken."""
        return self.select == "agreement" and (step % self.select_every == 0 or step == steps)


def hold_out(
    count: int, fraction: float, seed: int, most: int | None = None
) -> tuple[Tensor, Tensor]:
    """Split `count` images: (n,) those to train on and (m,) those set aside, ascending int64.

    m is `fraction` of the count, rounded, at least 1 and not above `most`.

    Raises:
        InputError: nothing is left to train on.
    """
    aside = max(1, round(fraction * count))
    aside = aside if most is None else min(aside, most)
    if aside >= count:
        raise InputError(
            f"--select-fraction {fraction}: sets aside {aside} of {count} images and leaves none to"
            " train on; take a smaller one, or --select last"
        )
    digest = hashlib.sha256(f"{seed}:held out".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
    order = torch.randperm(count, generator=generator)
    return order[aside:].sort().values, order[:aside].sort().values


def is_worse(ious: Tensor, before: Tensor) -> bool:
    """Whether IoUs have fallen by more than two standard errors of their paired differences.

    Args:
        ious, before: (m,) of the same images; of a single one the answer is always no.
    """
    change = ious - before
    return len(change) > 1 and bool(change.mean() < -2 * change.std() / len(change) ** 0.5)


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode within the block; then each part is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


class BestState(nn.Module):
    """The best-scoring of the states that were offered, the first of them on ties; else the first.

    All in buffers, so that a module that has this among its parts carries it through its
    checkpoints. The tensors are those of another module, and always given in the same order.

    Attributes:
        score: () float64, -inf before the first offer, inf once closed.
        step: () int64, how many steps had been taken.
    """

    score: Tensor
    step: Tensor

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self.register_buffer("score", torch.tensor(-torch.inf, dtype=torch.float64))
        self.register_buffer("step", torch.tensor(0))
        for i, tensor in enumerate(tensors):
            self.register_buffer(f"kept{i}", tensor.detach().clone())

    @torch.no_grad()
    def offer(self, score: float, step: int, tensors: Iterable[Tensor]) -> None:
        """Keep the tensors as they are now, if the score is the best yet."""
        if score <= self.score.item():
            return
        self.score.fill_(score)
        self.step.fill_(step)
        for i, tensor in enumerate(tensors):
            self.get_buffer(f"kept{i}").copy_(tensor)

    def close(self) -> None:
        """Take no offer any more."""
        self.score.fill_(torch.inf)

    @property
    def closed(self) -> bool:
        """Whether no offer is taken any more."""
        return self.score.item() == torch.inf

    @torch.no_grad()
    def restore(self, tensors: Iterable[Tensor]) -> None:
        """Set the tensors to what was kept."""
        for i, tensor in enumerate(tensors):
            tensor.copy_(self.get_buffer(f"kept{i}"))
