"""What g is trained to: WWbL's objective, and for g^h L_h of a frozen h (paper section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..clip.network import Clip
from ..clip.relevancy import relevancy_maps
from ..detector.layout import arrange
from ..detector.set_loss import LossWeights, choose_boxes, set_loss
from .batches import GroundingBatch
from .losses import GroundingWeights, grounding_losses
from .network import Grounder


@dataclass(frozen=True)
class Teacher:
    """h, and how it is asked.

    Attributes:
        detector: h, trained on heatmaps.
        map_size: (H, W) of those.
        weights: of the terms of L_h.
    """

    detector: nn.Module
    map_size: tuple[int, int]
    weights: LossWeights

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
        """The boxes that h takes for objects, (n_i, 4) for each map, n_i at least 1."""
        return [boxes for _, boxes in choose_boxes(*self.detect(maps), several=True)]


def draw_maps(grounder: Grounder, batch: GroundingBatch) -> Tensor:
    """g's maps of a batch at the size of its images: (B, S, S) float32."""
    if batch.planes is None:
        return grounder(batch.images, batch.texts).float()
    height, width = batch.images.shape[-2:]
    return grounder.decode(batch.planes, batch.texts, (height, width)).float()


class GroundingObjective(nn.Module):
    """g (trained) and its frozen judges: CLIP, and where there is a teacher, h."""

    def __init__(
        self,
        grounder: Grounder,
        clip: Clip,
        weights: GroundingWeights,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.grounder, self.weights, self.teacher = grounder, weights, teacher
        # A list hides the frozen networks from state_dict and checkpoints.
        self._frozen: list[nn.Module] = [clip]
        if teacher is not None:
            self._frozen.append(teacher.detector.eval().requires_grad_(False))

    def to(self, *args: Any, **kwargs: Any) -> GroundingObjective:
        """Move the frozen networks along."""
        for network in self._frozen:
            network.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def forward(
        self,
        batch: GroundingBatch,
        targets: Callable[[Tensor], list[Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch: `total`, the terms of `grounding_losses` and, of a teacher, `h`.

        Args:
            targets: the boxes that h is to see in maps (B, H, W) that g has just drawn, for each
                (n_i, 4) cxcywh in fractions.
        """
        maps = draw_maps(self.grounder, batch)
        losses = grounding_losses(
            self._frozen[0], batch.images, maps, batch.texts, self._relevancy(batch), self.weights
        )
        if self.teacher is None:
            return losses
        with torch.no_grad():
            wanted = targets(maps.detach())
        logits, boxes = self.teacher.detect(maps)
        loss_h = set_loss(logits, boxes, wanted, self.teacher.weights)["total"]
        return losses | {"total": losses["total"] + loss_h, "h": loss_h}

    def _relevancy(self, batch: GroundingBatch) -> Tensor:
        height, width = batch.images.shape[-2:]
        if not self.weights.relevancy_weight:
            return batch.images.new_zeros(len(batch.images), height, width)
        return relevancy_maps(self._frozen[0], batch.images, batch.texts, (height, width))
