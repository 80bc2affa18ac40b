"""The training of f^h: its recipe, the images that it sees, and each process's part of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import Parameter

from ..backbones.base import Backbone
from ..backbones.build import save_backbone
from ..backbones.frozen_states import FrozenStates, StateOptions
from ..data.augmentation import CROPS
from ..data.index import Index
from ..data.loading import SquareImages
from ..detector.networks import Detector
from ..detector.set_loss import LossWeights
from ..heuristics.registry import TrainingHeuristic
from ..options import all_recorded, option
from ..training.perturbation import PerturbationOptions
from ..training.plan import TrainingPlan
from ..training.run_options import AccumulationOptions, TrainingOptions
from ..training.schedule import Clipping, OptimizerOptions, Schedule, build_optimizer
from .batches import RefinementBatches, Selector
from .checkpoint_selection import SelectionOptions
from .objective import Refinement, RefinementOptions

SCHEDULE = Schedule(steps=10000, batch_size=36, lr=5e-7)


@dataclass(frozen=True)
class Augmentation:
    """How images are changed at each step."""

    augmentation: str = option(
        "none", "with crops boxes are proposed anew", choices=("none", *CROPS)
    )


@dataclass(frozen=True)
class Alternation:
    """The released code's schedule: h is trained again, on f^h, between rounds of refinement."""

    rounds: int = option(1, "times --steps, between which h is trained on f^h", min=1)
    detector_steps: int = option(0, "of h between two rounds", unit="steps", min=0)
    last_steps: int | None = option(
        None, "of the last round [--steps]", unit="steps", min=1, later=True
    )

    @property
    def moves_detector(self) -> bool:
        """Whether h is trained at all."""
        return self.rounds > 1 and self.detector_steps > 0

    def total(self, steps: int) -> int:
        """All steps, of `steps` in each round."""
        last = steps if self.last_steps is None else self.last_steps
        return (self.rounds - 1) * (steps + self.detector_steps) + last

    def is_detectors(self, step: int, steps: int) -> bool:
        """Whether a step, counted from 0, belongs to h."""
        number, within = divmod(step, steps + self.detector_steps)
        return number < self.rounds - 1 and within >= steps


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How f^h is trained."""

    options: RefinementOptions
    augmentation: Augmentation
    heuristic: TrainingHeuristic
    schedule: Schedule = SCHEDULE
    optimizer: OptimizerOptions
    clipping: Clipping
    loss_weights: LossWeights
    selection: SelectionOptions
    alternation: Alternation
    parallel: AccumulationOptions
    start: PerturbationOptions
    training: TrainingOptions

    def objective(
        self, f: Backbone, h: Detector, parts: str, surrogate: Detector | None = None
    ) -> Refinement:
        """What is minimised: f^h, which begins as f, with the frozen h; see `Refinement`."""
        return Refinement(
            f,
            h,
            parts,
            self.heuristic.method,
            self.heuristic.options,
            self.options,
            self.loss_weights,
            self.alternation.moves_detector,
            surrogate,
        )

    def recorded(self) -> dict[str, Any]:
        """What the provenance says, besides what `plan_training` says itself."""
        return all_recorded(
            self.augmentation,
            self.parallel,
            self.start,
            options=self.options,
            heuristic=self.heuristic,
            optimizer=self.optimizer,
            loss=self.loss_weights,
            selection=self.selection,
            alternation=self.alternation,
        )


def choose_images(
    dataset: Index, f: Backbone, kept: StateOptions, size: int, moving: int
) -> SquareImages | FrozenStates:
    """What f^h is trained on: images, or what the `moving` blocks that move read of them.

    Args:
        size: side to which images are resized, in pixels.

    Raises:
        InputError: states are of other images or weights, or not of squares of that size.
    """
    if not kept.states:
        return SquareImages(dataset, size)
    states = FrozenStates(kept.states, f, dataset)
    states.require_last(moving)
    states.require_squares(dataset, size)
    return states


class RefinementTraining:
    """The training of f^h, as each process gets it.

    No dataclass, which Lightning would take apart on its way to a process.

    Attributes:
        plan: with the schedule of one round.
        grid: (h, w) of the patches.
        steps: of all rounds.
        selector: what compares states on images that are set aside, if any does.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        recipe: Recipe,
        batches: RefinementBatches,
        selector: Selector | None,
        grid: tuple[int, int],
    ) -> None:
        self.plan, self.recipe = plan, recipe
        self.batches, self.selector, self.grid = batches, selector, grid
        self.steps = recipe.alternation.total(recipe.schedule.steps)

    def __call__(self, fabric: Fabric, model: Refinement) -> None:
        """One process's part of the training; the first process writes the result."""
        if self.selector is not None:
            self.selector.begin(model)
        wrapped, optimizer = fabric.setup(model, self._optimizer(model))
        self._cache_features(fabric, model)
        if not model.options.reinit_head:  # whose first state is random numbers, not f
            # f itself; of a resumed run this is done again, and then read back
            self._compare(fabric, model, -1)

        def loss(step: int) -> Iterator[dict[str, Tensor]]:
            return self._losses(fabric, model, wrapped, step)

        def compare(step: int) -> None:
            self._compare(fabric, model, step)

        plan = replace(self.plan, schedule=replace(self.plan.schedule, steps=self.steps))
        if self.selector is None or not self.selector.is_over(model):
            plan.optimize(fabric, wrapped, optimizer, loss, "refinement steps of f^h", compare)
        record = self.plan.record
        if self.selector is not None:
            record = {**record, "selected": self.selector.restore(model)}
        if fabric.is_global_zero:
            save_backbone(self.plan.output, model.refined, record)

    def _optimizer(self, model: Refinement) -> torch.optim.Optimizer:
        options = self.recipe.optimizer
        optimizer = build_optimizer(
            options.optimizer, self.recipe.schedule, options.beta2, trained_parameters(model)
        )
        if self.recipe.alternation.moves_detector:
            optimizer.add_param_group({"params": list(model.detector.parameters())})
        return optimizer

    def _cache_features(self, fabric: Fabric, model: Refinement) -> None:
        with fabric.autocast():
            self.batches.cache_features(model, fabric, self.steps)
            if self.selector is not None:
                self.selector.aside.cache_features(model, fabric, self.steps)

    def _compare(self, fabric: Fabric, model: Refinement, step: int) -> None:
        if self.selector is not None:
            self.selector.compare(model, self.grid, fabric, step + 1, self.steps)

    def _losses(
        self, fabric: Fabric, model: Refinement, wrapped: Any, step: int
    ) -> Iterator[dict[str, Tensor]]:
        """Those of each accumulated part of a step's batch."""
        alternation, parts = self.recipe.alternation, self.recipe.parallel.grad_accum_steps
        if alternation.moves_detector:
            turn = alternation.is_detectors(step, self.recipe.schedule.steps)
            model.set_phase(detectors=turn)
        generator = self.plan.generator(step, fabric.global_rank)
        for chosen in self.batches.indices(step, fabric).chunk(parts):
            with fabric.autocast():
                fixed = self.batches.batch(chosen, generator, model, fabric)
            losses = wrapped(fixed, self.grid, generator)
            yield losses | {"total": losses["total"] / parts}
        if step + 1 < self.steps:
            self.batches.prefetch(step + 1, fabric)


def trained_parameters(model: Refinement) -> list[Parameter]:
    """The weights of f^h that move."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
