"""What g is trained to: WWbL's objective, and for g^h L_h of a frozen h (paper section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..clip.network import Clip
from ..clip.relevancy import relevancy_maps
from ..detector.layout import arrange
from ..detector.set_loss import LossWeights, choose_boxes, set_loss
from ..training.alternation import Alternating
from ..training.checkpoint_selection import evaluating
from .batches import GroundingBatch
from .losses import GroundingWeights, box_masks, grounding_losses, mask_loss, union_box
from .network import Grounder

if TYPE_CHECKING:
    from ..detector.networks import Detector


@dataclass(frozen=True)
class Teacher:
    """h, and how it is asked.

    Attributes:
        detector: h, trained on heatmaps.
        map_size: (H, W) of those.
        weights: of the terms of L_h.
        detector_weight: of L_h itself; 0 leaves it out.
        mask_weight: of `mask_loss`; 0 leaves it out.
        inside_share: of `mask_loss`.
        flips: own_boxes asks h for the mirrored map as well.
    """

    detector: Detector
    map_size: tuple[int, int]
    weights: LossWeights
    detector_weight: float = 1.0
    mask_weight: float = 0.0
    inside_share: float = 0.5
    flips: bool = False

    def detect(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """h's logits (B, k, 2) and boxes (B, k, 4) of maps (B, H, W) of any size."""
        planes = maps.unsqueeze(1)
        if maps.shape[-2:] != self.map_size:
            planes = functional.interpolate(planes, self.map_size, mode="bilinear")
        patches = planes.flatten(2).unsqueeze(-1)
        logits, boxes = self.detector(arrange(patches, self.map_size, self.detector.spec.layout))
        return logits.float(), boxes.float()

    @torch.no_grad()
    def own_boxes(self, maps: Tensor) -> list[Tensor]:
        """The boxes that h takes for objects, (n_i, 4) for each map, n_i at least 1.

        With flips one box a map: the mean of the union of what h finds in it and of what it finds
        in its mirror image.
        """
        found = [boxes for _, boxes in choose_boxes(*self.detect(maps), several=True)]
        if not self.flips:
            return found
        mirrored = choose_boxes(*self.detect(maps.flip(2)), several=True)
        pairs = zip(found, (boxes for _, boxes in mirrored), strict=True)
        return [_mean_box(union_box(own), _mirror(union_box(other))) for own, other in pairs]


def _mirror(boxes: Tensor) -> Tensor:
    """Boxes (n, 4), cxcywh in fractions, as they lie in the mirror image."""
    return torch.cat((1 - boxes[:, :1], boxes[:, 1:]), dim=1)


def _mean_box(first: Tensor, second: Tensor) -> Tensor:
    """The box whose edges lie midway, which in cxcywh is the mean too: (n, 4)."""
    return (first + second) / 2


class Lesson(NamedTuple):
    """Boxes of each of B maps, (n_i, 4) cxcywh in fractions.

    Attributes:
        wanted: those that h is to see, by L_h.
        masks: those whose inside is to be foreground.
    """

    wanted: list[Tensor]
    masks: list[Tensor]


def draw_logits(grounder: Grounder, batch: GroundingBatch) -> Tensor:
    """What g's maps are the sigmoid of, at the size of the batch's images: (B, S, S) float32."""
    planes = grounder.encode(batch.images) if batch.planes is None else batch.planes
    height, width = batch.images.shape[-2:]
    return grounder.decode_logits(planes, batch.texts, (height, width)).float()


def draw_maps(grounder: Grounder, batch: GroundingBatch) -> Tensor:
    """g's maps of a batch at the size of its images: (B, S, S) float32."""
    return draw_logits(grounder, batch).sigmoid()


class GroundingObjective(Alternating):
    """g (trained) and its frozen judges: CLIP, and where there is a teacher, h.

    With `moves_detector`, g^h and h take turns.
    """

    def __init__(
        self,
        grounder: Grounder,
        clip: Clip,
        weights: GroundingWeights,
        teacher: Teacher | None = None,
        similarity: str = "pair",
        moves_detector: bool = False,
    ) -> None:
        super().__init__()
        self.grounder, self.weights, self.teacher = grounder, weights, teacher
        self.similarity = similarity
        # A list hides the frozen networks from state_dict and checkpoints.
        self._frozen: list[Any] = [clip]
        if teacher is not None:
            h = teacher.detector.eval().requires_grad_(False)
            self.let_move(h) if moves_detector else self._frozen.append(h)

    @property
    def student(self) -> Grounder:
        """g^h."""
        return self.grounder

    def to(self, *args: Any, **kwargs: Any) -> GroundingObjective:
        """Move the frozen networks along."""
        for network in self._frozen:
            network.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def forward(
        self,
        batch: GroundingBatch,
        lesson: Callable[[Tensor], Lesson] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch: `total`, the terms of `grounding_losses` and, of a teacher, `h` and
        `mask`, unweighted; a term without weight is left out. In h's turn L_h is all.

        Args:
            lesson: what the teacher wants of maps (B, H, W) that g has just drawn.
        """
        if self.detectors_turn:
            return self._train_detector(batch, lesson)
        logits = draw_logits(self.grounder, batch)
        maps = logits.sigmoid()
        losses = grounding_losses(
            self._frozen[0],
            batch.images,
            maps,
            batch.texts,
            self._relevancy(batch),
            self.weights,
            self.similarity,
        )
        if self.teacher is None or lesson is None:
            return losses
        with torch.no_grad():
            taught = lesson(maps.detach())
        return self._add_teaching(losses, logits, maps, taught)

    def _train_detector(
        self, batch: GroundingBatch, lesson: Callable[[Tensor], Lesson] | None
    ) -> dict[str, Tensor]:
        """L_h of h on the maps of g^h as it stands, which is run as it will be."""
        assert self.teacher is not None, "without a teacher there is no h"
        assert lesson is not None, "h learns from lessons"
        with torch.no_grad(), evaluating(self.grounder):
            maps = draw_maps(self.grounder, batch)
            wanted = lesson(maps).wanted
        found = set_loss(*self.teacher.detect(maps), wanted, self.teacher.weights)["total"]
        return {"total": found, "h": found}

    def _add_teaching(
        self, losses: dict[str, Tensor], logits: Tensor, maps: Tensor, taught: Lesson
    ) -> dict[str, Tensor]:
        """The losses with those of the teacher, from maps (B, H, W) and their logits."""
        teacher, total = self.teacher, losses["total"]
        assert teacher is not None, "there is no teaching without a teacher"
        if teacher.detector_weight:
            found = set_loss(*teacher.detect(maps), taught.wanted, teacher.weights)
            losses = losses | {"h": found["total"]}
            total = total + teacher.detector_weight * losses["h"]
        if teacher.mask_weight:
            masks = box_masks(taught.masks, (maps.shape[1], maps.shape[2]))
            losses = losses | {"mask": mask_loss(logits, masks, teacher.inside_share)}
            total = total + teacher.mask_weight * losses["mask"]
        return losses | {"total": total}

    def _relevancy(self, batch: GroundingBatch) -> Tensor:
        height, width = batch.images.shape[-2:]
        if not self.weights.relevancy_weight:
            return batch.images.new_zeros(len(batch.images), height, width)
        return relevancy_maps(self._frozen[0], batch.images, batch.texts, (height, width))
