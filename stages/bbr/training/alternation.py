"""Rounds of refinement: a network learns through h, h is trained on it, and so on in turns.

One implementation for f^h and g^h. Where states are compared on images set aside, the rounds end
with the first that comes no nearer to h's boxes than what came before it: no label is read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from ..command_line.cli import log
from ..options import option
from .checkpoint_selection import BestState, Selector
from .plan import TrainingPlan


@dataclass(frozen=True)
class Alternation:
    """The released code's schedule: h is trained again, on what it refined, between rounds."""

    rounds: int = option(1, "times --steps, between which h is trained on what it refined", min=1)
    detector_steps: int = option(0, "of h between two rounds", unit="steps", min=0)
    last_steps: int | None = option(
        None, "of the last round [--steps]", unit="steps", min=1, later=True
    )

    @property
    def moves_detector(self) -> bool:
        """Whether h is trained at all."""
        return self.rounds > 1 and self.detector_steps > 0

    def turns(self, steps: int) -> list[range]:
        """The steps, counted from 0, that each round refines in; those between them are h's.

        Args:
            steps: of a round.
        """
        starts = [number * (steps + self.detector_steps) for number in range(self.rounds)]
        last = steps if self.last_steps is None else self.last_steps
        return [
            *(range(start, start + steps) for start in starts[:-1]),
            range(starts[-1], starts[-1] + last),
        ]

    def total(self, steps: int) -> int:
        """All steps, of `steps` in each round."""
        return self.turns(steps)[-1].stop

    def is_detectors(self, step: int, steps: int) -> bool:
        """Whether a step, counted from 0, belongs to h."""
        return not any(step in turn for turn in self.turns(steps))


class Alternating(nn.Module, ABC):
    """What h refines, and h itself where that moves; the frozen rest is a subclass's own.

    Attributes:
        moves_detector: whether h is trained at all.
        detectors_turn: whether it is now.
    """

    best: BestState  # where states are compared
    detector: Any  # h, where it moves
    moves_detector = False
    detectors_turn = False

    @property
    @abstractmethod
    def student(self) -> nn.Module:
        """f^h or g^h."""

    def changing(self) -> list[Tensor]:
        """All of it that training may change; of the moment, as a move to a GPU makes new ones."""
        trained = (p for p in self.student.parameters() if p.requires_grad)
        return [*trained, *self.student.buffers()]

    def let_move(self, detector: nn.Module) -> None:
        """Have h, frozen as yet, take turns; see `set_phase`."""
        self._trained = [p for p in self.student.parameters() if p.requires_grad]
        self.detector, self.moves_detector = detector, True

    def setup(self, fabric: Fabric, optimizer: Optimizer) -> tuple[Any, Any]:
        """`fabric.setup` of the model and its optimizer, which gets h's weights where h moves."""
        if not self.moves_detector:
            return fabric.setup(self, optimizer)
        optimizer.add_param_group({"params": list(self.detector.parameters())})
        # Gradients of what is frozen at this moment would never be shared between processes.
        self.detector.requires_grad_(True)
        made = fabric.setup(self, optimizer)
        self.detector.requires_grad_(False)
        return made

    def set_phase(self, detectors: bool) -> None:
        """Train h from now on, or what it refines; needs `let_move`."""
        if detectors == self.detectors_turn:
            return
        self.detectors_turn = detectors
        self.detector.requires_grad_(detectors).train(detectors)
        for parameter in self._trained:
            parameter.requires_grad_(not detectors)


def train_in_rounds(
    fabric: Fabric,
    plan: TrainingPlan,
    alternation: Alternation,
    model: Alternating,
    wrapped: nn.Module,
    optimizer: Optimizer,
    loss: Callable[[int], Iterator[dict[str, Tensor]]],
    what: str,
    selector: Selector | None = None,
) -> dict[str, Any]:
    """Train as `TrainingPlan.optimize` does, in rounds; returns what the provenance says.

    Args:
        plan: with the schedule of one round.
        wrapped, optimizer: the model and its optimizer, of `fabric.setup`.
        loss: as of `loop.optimize`, with h's losses in h's turn (`model.detectors_turn`).
        selector: keeps the best state, and ends the rounds; None for the last state of them all.
    """
    steps = plan.schedule.steps
    turns, total = alternation.turns(steps), alternation.total(steps)

    def of_turn(step: int) -> Iterator[dict[str, Tensor]]:
        if model.moves_detector:
            model.set_phase(alternation.is_detectors(step, steps))
        return loss(step)

    def is_over(step: int) -> bool:
        turn = next((turn for turn in turns if step in turn), None)
        if selector is None or turn is None:
            return False
        ends = step == turn[-1]
        selector.compare(step + 1, ends)
        if not ends or step + 1 == total or selector.best_step > turn.start:
            return False
        log.info("no state of this round is nearer to h's boxes: it is the last round")
        return True

    if selector is None or not selector.is_over:
        plan = replace(plan, schedule=replace(plan.schedule, steps=total))
        plan.optimize(fabric, wrapped, optimizer, of_turn, what, is_over)
    return plan.record if selector is None else {**plan.record, "selected": selector.restore()}
