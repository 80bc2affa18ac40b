"""The training of f^h: its recipe, the images that it sees, and each process's part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
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
from ..training.alternation import Alternation, train_in_rounds
from ..training.checkpoint_selection import SelectionOptions, Selector
from ..training.perturbation import PerturbationOptions
from ..training.plan import TrainingPlan
from ..training.run_options import AccumulationOptions, TrainingOptions
from ..training.schedule import Clipping, OptimizerOptions, Schedule, build_optimizer
from .batches import RefinementBatches
from .objective import Fixed, Refinement, RefinementOptions

SCHEDULE = Schedule(steps=10000, batch_size=36, lr=5e-7)


@dataclass(frozen=True)
class Augmentation:
    """How images are changed at each step."""

    augmentation: str = option(
        "none", "with crops boxes are proposed anew", choices=("none", *CROPS)
    )


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
        aside: images on which states are compared, if they are.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        recipe: Recipe,
        batches: RefinementBatches,
        aside: RefinementBatches | None,
        grid: tuple[int, int],
    ) -> None:
        self.plan, self.recipe = plan, recipe
        self.batches, self.aside, self.grid = batches, aside, grid
        self.steps = recipe.alternation.total(recipe.schedule.steps)

    def __call__(self, fabric: Fabric, model: Refinement) -> None:
        """One process's part of the training; the first process writes the result."""
        selector = None
        if self.aside is not None:
            look = partial(self._look, fabric, model, self.aside)
            looks = (partial(look, model.own_boxes), partial(look, model.found_boxes))
            selector = Selector(self.recipe.selection, model, *looks)
        wrapped, optimizer = model.setup(fabric, self._optimizer(model))
        with fabric.autocast():
            for batches in filter(None, (self.batches, self.aside)):
                batches.cache_features(model, fabric, self.steps)
        if selector is not None:
            selector.begin(compares=not model.options.reinit_head)

        def loss(step: int) -> Iterator[dict[str, Tensor]]:
            return self._losses(fabric, model, wrapped, step)

        turns, what = self.recipe.alternation, "refinement steps of f^h"
        record = train_in_rounds(
            fabric, self.plan, turns, model, wrapped, optimizer, loss, what, selector
        )
        if fabric.is_global_zero:
            save_backbone(self.plan.output, model.refined, record)

    def _look(
        self,
        fabric: Fabric,
        model: Refinement,
        aside: RefinementBatches,
        boxes: Callable[[Fixed, tuple[int, int]], Tensor],
    ) -> Tensor:
        """The boxes of all images set aside: (m, 4)."""
        found = []
        for chosen in aside.all():
            with fabric.autocast():
                found.append(boxes(aside.batch(chosen, None, model, fabric), self.grid))
        return torch.cat(found)

    def _optimizer(self, model: Refinement) -> torch.optim.Optimizer:
        options = self.recipe.optimizer
        return build_optimizer(
            options.optimizer, self.recipe.schedule, options.beta2, trained_parameters(model)
        )

    def _losses(
        self, fabric: Fabric, model: Refinement, wrapped: Any, step: int
    ) -> Iterator[dict[str, Tensor]]:
        """Those of each accumulated part of a step's batch."""
        parts = self.recipe.parallel.grad_accum_steps
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
