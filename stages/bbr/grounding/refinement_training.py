"""The training of g^h: which texts it sees, and its steps and h's, in rounds (section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..detector.targets import as_target_list
from ..training.alternation import train_in_rounds
from ..training.checkpoint_selection import SelectionOptions, Selector, hold_out
from ..training.plan import TrainingPlan
from .batches import GroundingBatch, GroundingBatches
from .objective import GroundingObjective
from .refinement import LessonPlan, Recipe


class GrounderRefinement:
    """The training of g^h.

    Attributes:
        plan: with the schedule of one round.
        stored: (n, T, 4) cxcywh in fractions, g's boxes of each text of `batches`.
        trained, aside: int64, the texts that are trained on, and those that states are compared on.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        recipe: Recipe,
        lessons: LessonPlan,
        batches: GroundingBatches,
        stored: Tensor,
    ) -> None:
        self.plan, self.recipe, self.lessons = plan, recipe, lessons
        self.batches, self.stored = batches, stored
        self.trained, self.aside = split_texts(batches.positions, recipe.selection, plan.seed)

    def __call__(self, fabric: Fabric, model: GroundingObjective) -> dict[str, Any]:
        """Train g^h in place; returns what the provenance says."""
        selector = None
        if len(self.aside):
            found = partial(self.lessons.found_boxes, model.grounder)
            looks = (partial(self._look, self.lessons.own_boxes), partial(self._look, found))
            selector = Selector(self.recipe.selection, model, *looks, first="g")
        trained = [p for p in model.parameters() if p.requires_grad]
        schedule = self.plan.schedule
        optimizer = torch.optim.Adam(trained, schedule.lr, weight_decay=schedule.weight_decay)
        wrapped, optimizer = model.setup(fabric, optimizer)
        fabric.to_device(self.lessons.original)
        self.batches.cache_features()
        if selector is not None:
            selector.begin()

        def loss(step: int) -> Iterator[dict[str, Tensor]]:
            generator = self.plan.generator(step)
            chosen = self.trained[self.plan.indices(len(self.trained), step)]
            batch = self.batches.batch(chosen, generator)
            of_g = as_target_list(fabric.to_device(batch.turn(self.stored[chosen])))
            if model.detectors_turn:
                yield wrapped(batch, self.lessons.of_detector(of_g))
            else:
                yield wrapped(batch, self.lessons.of_batch(batch, of_g, generator))

        turns, what = self.recipe.alternation, "refinement steps of g^h"
        return train_in_rounds(
            fabric, self.plan, turns, model, wrapped, optimizer, loss, what, selector
        )

    @torch.no_grad()
    def _look(self, boxes: Callable[[GroundingBatch], Tensor]) -> Tensor:
        """The boxes of all texts set aside, which are drawn the same each time: (m, 4)."""
        generator, parts = self.plan.generator(0), self.aside.split(self.plan.schedule.batch_size)
        return torch.cat([boxes(self.batches.batch(chosen, generator)) for chosen in parts])


def split_texts(positions: Tensor, options: SelectionOptions, seed: int) -> tuple[Tensor, Tensor]:
    """The texts to train on, and those of the images that are set aside: int64, ascending.

    Args:
        positions: (n,) the image of each text.

    Raises:
        InputError: nothing is left to train on.
    """
    if options.select == "last":
        return torch.arange(len(positions)), torch.arange(0)
    images = positions.unique()
    share, most = options.select_fraction, options.select_max_images
    _, aside = hold_out(len(images), share, seed, most)
    held = torch.isin(positions, images[aside])
    return (~held).nonzero().flatten(), held.nonzero().flatten()
