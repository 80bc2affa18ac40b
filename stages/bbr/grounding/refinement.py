"""The refinement of g to g^h: what h is asked for, and what its boxes teach (section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..clip.network import Clip
from ..data.index import Index
from ..detector.networks import Detector
from ..detector.set_loss import LossWeights
from ..detector.targets import TargetRules
from ..errors import InputError
from ..options import all_recorded, option
from ..training.alternation import Alternation
from ..training.checkpoint_selection import SelectionOptions, evaluating
from ..training.perturbation import PerturbationOptions
from ..training.run_options import TrainingOptions
from ..training.schedule import Clipping, Schedule
from .batches import GroundingBatch, Mirroring
from .contours import NMS_BOXES, THRESHOLDS, ContourOptions
from .heatmap_inputs import load_phrase_targets, map_targets
from .losses import (
    REFINEMENT_WEIGHTS,
    GroundingWeights,
    SimilarityOptions,
    toss_coins,
    union_box,
    with_unions,
)
from .network import Grounder
from .objective import GroundingObjective, Lesson, Teacher, draw_maps
from .texts import Entry, entries

TARGETS = ("g", "current", "h")
UNION_COINS = ("image", "batch")
MASK_SOURCES = ("h", "g")
NORM_STATISTICS = ("running", "batch")
SCHEDULE = Schedule(steps=10000, batch_size=36, lr=1e-7)


@dataclass(frozen=True)
class Targets(TargetRules):
    """What h is asked for, on maps of which size."""

    image_size: int = option(304, "side to which images are resized", unit="px", min=1)
    heatmap_size: int = option(304, "side of the maps that h was trained on", unit="px", min=1)
    targets: str = option(
        "g",
        "boxes h is asked for: of g, of the maps of the current g^h (of g where those have none),"
        " or h's own on g's maps",
        choices=TARGETS,
    )
    nms_boxes: str = option(
        "xyxy", "of the current g^h's boxes; see heatmap_boxes.py", choices=NMS_BOXES
    )
    box_threshold: str = option(
        "minmax", "of the current g^h's boxes; see heatmap_boxes.py", choices=THRESHOLDS
    )
    union_probability: float = option(
        0.5, "of asking h for the union of the boxes instead", min=0, max=1
    )
    union_coin: str = option(
        "image",
        "whether that is drawn for each image or for a whole batch, as in the released code",
        choices=UNION_COINS,
        later=True,
    )


@dataclass(frozen=True)
class Lessons:
    """What h and its boxes teach."""

    detector_weight: float = option(1.0, "of L_h as a whole", min=0)
    mask_weight: float = option(0.0, "of boxes as foreground masks", min=0)
    mask_source: str = option(
        "h", "whose boxes these are: h's on g's maps, or g's own", choices=MASK_SOURCES
    )
    inside_share: float = option(
        0.5,
        "weight of a mask's inside, against its outside; below 0.5 maps become narrower",
        above=0,
        below=1,
    )
    flips: bool = option(False, "boxes of h are the mean over a map and its mirror image")

    def teacher(self, h: Detector, weights: LossWeights, side: int) -> Teacher:
        """h, and how it is asked; it was trained on square maps of this side."""
        return Teacher(
            h,
            (side, side),
            weights,
            self.detector_weight,
            self.mask_weight,
            self.inside_share,
            self.flips,
        )


@dataclass(frozen=True)
class Seeing(Mirroring):
    """How g^h sees images while it is trained."""

    norm_statistics: str = option(
        "running",
        "of g's batch norms: those that g has, which stay; or those of each batch, which g^h's are"
        " gathered from, as in the released code",
        choices=NORM_STATISTICS,
        later=True,
    )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How g^h is trained."""

    schedule: Schedule = SCHEDULE
    clipping: Clipping
    loss_weights: LossWeights
    grounding_weights: GroundingWeights = REFINEMENT_WEIGHTS
    similarity: SimilarityOptions
    seeing: Seeing
    selection: SelectionOptions
    alternation: Alternation
    start: PerturbationOptions
    training: TrainingOptions

    def recorded(self) -> dict[str, Any]:
        """What the provenance says, besides what `plan_training` says itself."""
        # Files of before there were these keep their bytes.
        later = {"selection": self.selection, "alternation": self.alternation}
        later = {name: own for name, own in later.items() if own != type(own)()}
        return all_recorded(
            self.similarity,
            self.seeing,
            self.start,
            loss=self.loss_weights,
            grounding_loss=self.grounding_weights,
            **later,
        )

    def objective(self, g: Grounder, clip: Clip, teacher: Teacher) -> GroundingObjective:
        """What is minimised, in the mode in which g^h is trained."""
        similarity, of_batch = self.similarity.similarity, self.seeing.norm_statistics == "batch"
        moves = self.alternation.moves_detector
        model = GroundingObjective(g, clip, self.grounding_weights, teacher, similarity, moves)
        g.train(of_batch)
        return model


class LessonPlan:
    """Of each batch, what h is asked for and which boxes are masks.

    Attributes:
        original: g, whose maps those of g^h are compared with.
        mask_source: whose boxes are masks.
    """

    def __init__(
        self, original: Grounder, teacher: Teacher, options: Targets, mask_source: str
    ) -> None:
        self.original, self.teacher = original, teacher
        self.options, self.mask_source = options, mask_source
        self.contours = ContourOptions("pseudo", options.nms_boxes, options.box_threshold)

    def of_batch(
        self, batch: GroundingBatch, of_g: list[Tensor], generator: torch.Generator
    ) -> Callable[[Tensor], Lesson]:
        """The lesson of a batch, from the maps (B, H, W) of g^h as it stands.

        Args:
            of_g: g's boxes, as they were stored: (n_i, 4) cxcywh in fractions.
            generator: of the coins of equation 7.
        """
        before = draw_maps(self.original, batch)

        def lesson(maps: Tensor) -> Lesson:
            return self._lesson(maps, before, of_g, generator)

        return lesson

    def of_detector(self, of_g: list[Tensor]) -> Callable[[Tensor], Lesson]:
        """What h learns of a batch in its turn, as it first learned g's boxes: those of the maps
        (B, H, W) of g^h as it stands; see `of_batch`."""

        def lesson(maps: Tensor) -> Lesson:
            return Lesson(self._current(maps, of_g), [])

        return lesson

    def own_boxes(self, batch: GroundingBatch) -> Tensor:
        """The box around what h finds in the maps of g: (B, 4) cxcywh in fractions."""
        return _unions(self.teacher.own_boxes(draw_maps(self.original, batch)))

    def found_boxes(self, g: Grounder, batch: GroundingBatch) -> Tensor:
        """The box around the boxes of the maps of g^h, run as it will be: (B, 4) cxcywh in
        fractions, without area where a map has none."""
        with evaluating(g):
            maps = draw_maps(g, batch)
        nothing = list(maps.new_zeros(len(maps), 1, 4))
        return _unions(map_targets(maps, nothing, self.contours))

    def _current(self, maps: Tensor, of_g: list[Tensor]) -> list[Tensor]:
        k = self.teacher.detector.spec.num_boxes
        return map_targets(maps, of_g, self.contours, self.options, k)

    def _lesson(
        self, maps: Tensor, before: Tensor, of_g: list[Tensor], generator: torch.Generator
    ) -> Lesson:
        """The same, with the maps of g (B, H, W) at hand."""
        options = self.options
        boxes_by = {
            "g": lambda: of_g,
            "current": lambda: self._current(maps, of_g),
            "h": lambda: self.teacher.own_boxes(before),
        }
        # A text is not drawn as its stored boxes were found: words of captions are left out.
        masks_by = {**boxes_by, "g": lambda: map_targets(before, of_g, self.contours)}
        of_each = options.union_coin == "image"
        coins = toss_coins(len(of_g), options.union_probability, generator, of_each)
        wanted = with_unions(boxes_by[options.targets](), coins)
        return Lesson(wanted, masks_by[self.mask_source]())


def _unions(boxes: list[Tensor]) -> Tensor:
    """The box around those of each map, (B, 4), of B tensors (n_i, 4) with n_i at least 1."""
    return torch.cat([union_box(own) for own in boxes])


def require_something_to_learn(targets: str, weights: GroundingWeights, lessons: Lessons) -> None:
    """Check that a term has weight, and that something holds maps whose own boxes are asked for.

    Raises:
        InputError: none has, or nothing does.
    """
    held = lessons.mask_weight or any(vars(weights).values())
    if not held and not lessons.detector_weight:
        raise InputError("every term has weight 0, so that there is nothing to learn")
    if targets == "current" and not held:
        raise InputError(
            "--targets current with the weights of all other terms at 0: nothing holds g^h, whose"
            " boxes then grow to the whole image; give one of them a weight, or --targets g or h"
        )


def taught_texts(
    boxes: Path, dataset: Index, rules: TargetRules, k: int
) -> tuple[list[list[Entry]], Tensor]:
    """The texts that g is taught with, each a choice of its own, and g's boxes of each.

    Args:
        boxes: pseudo-boxes of g.
        k: how many boxes h predicts.

    Returns:
        m lists of one entry, and boxes (m, T, 4) as of `load_phrase_targets`.
    """
    found = entries(dataset, "training")
    rows = [(entry.image_id, entry.phrase_id) for entry in found]
    positions, wanted = load_phrase_targets(boxes, dataset, rows, rules, k)
    return [[found[i]] for i in positions.tolist()], wanted
