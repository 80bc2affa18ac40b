"""Which state of f^h, or of g^h, to keep, judged without ground truth.

A fraction of the training images is set aside: h may have been trained on them, f^h is not. Before
the first step, every few steps, and after the last of a round, the heuristic's boxes on f^h's maps
of these images are compared with those that h, as it was given, has on f's maps. The score of a
state is their mean IoU, and the best state is kept, unless its boxes fell apart: a state that is
farther from h than f was, by more than chance explains, is never kept. Where all are, the result is
f itself; and so it is where h is too far from the heuristic to begin with. It does not tell whether
h sees the right object: no annotation enters.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ..command_line.cli import log
from ..command_line.fast_import import large_imports
from ..data.box_ops import to_xyxy
from ..errors import InputError
from ..options import option

SELECTIONS = ("last", "agreement")


@dataclass(frozen=True)
class SelectionOptions:
    """Which state of f^h, or of g^h, becomes the output."""

    select: str = option(
        "last",
        "state to keep: the last, or that in which the boxes of its maps are nearest to h's on"
        " images set aside; f or g itself, where all are farther than it was; ends rounds that lead"
        " no nearer",
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
        "mean IoU of h's and f's boxes, or g's, below which h is not trusted, and f or g is kept",
        min=0,
        max=1,
    )

    def looks_after(self, step: int, last: bool) -> bool:
        """Whether states are compared once `step` steps have been taken, the last of a round."""
        return step % self.select_every == 0 or last


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


class Refined(Protocol):
    """What states are compared of."""

    best: BestState

    def changing(self) -> list[Tensor]:
        """All of it that training may change."""


class Selector:
    """Compares states on images set aside, and keeps the best; the first, where none is as good.

    Made before the model goes to Fabric, as its best state then goes into checkpoints with it.
    """

    def __init__(
        self,
        options: SelectionOptions,
        model: Refined,
        of_detector: Callable[[], Tensor],
        of_maps: Callable[[], Tensor],
        first: str = "f",
    ) -> None:
        """Give the model a place for its best state.

        Args:
            of_detector: h's box on the maps of f (or g), of each image set aside: (m, 4) cxcywh.
            of_maps: the box of the maps of f^h (or g^h) as it stands, likewise. Every process
                looks at all of them, so that all come to the same number.
            first: what the first state is called.
        """
        self.options, self.model, self.first = options, model, first
        self.of_detector, self.of_maps = of_detector, of_maps
        self._wanted: Tensor | None = None
        self._of_first: Tensor | None = None  # nothing is compared with it until it is there
        model.best = BestState(model.changing())

    def begin(self, compares: bool = True) -> None:
        """Ask h, which no training has moved yet, and look at the first state.

        Of a resumed run this is done again, before its state is read back.

        Args:
            compares: whether the first state is f or g itself.
        """
        self._wanted = to_xyxy(self.of_detector())
        if compares:
            self.compare(0)

    def compare(self, step: int, last: bool = False) -> None:
        """Offer the state after `step` steps, where it is time to; 0 is f or g itself.

        Args:
            last: whether the step is the last of a round.
        """
        if not self.options.looks_after(step, last):
            return
        with large_imports():
            from torchvision.ops import box_iou

        ious = box_iou(self._wanted, to_xyxy(self.of_maps())).diagonal().double().cpu()
        score, best = ious.mean().item(), self.model.best
        log.info("agreement with h after %d steps: %.4f", step, score)
        if step == 0:
            self._of_first = ious
            if score < self.options.select_min_agreement:
                log.info("h and the boxes of the maps agree too little: %s is kept", self.first)
                best.close()
        elif self._of_first is None or not is_worse(ious, self._of_first):
            best.offer(score, step, self.model.changing())

    @property
    def best_step(self) -> int:
        """How many steps had been taken to the best state; 0 for the first."""
        return int(self.model.best.step.item())

    @property
    def is_over(self) -> bool:
        """Whether the first state is kept whatever is to come, since h is not to be trusted."""
        return self.model.best.closed

    def restore(self) -> dict[str, float | None]:
        """Bring the best state back; what the provenance says of it."""
        self.model.best.restore(self.model.changing())
        if self.best_step == 0 and not self.is_over:
            log.info("every other state is farther from h's boxes: %s is kept", self.first)
        score = self.model.best.score.item()
        of_first = None if self._of_first is None else round(self._of_first.mean().item(), 6)
        return {
            "step": self.best_step,
            "agreement": round(score, 6) if math.isfinite(score) else None,
            f"agreement_of_{self.first}": of_first,
        }
