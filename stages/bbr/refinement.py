"""f^h: fine-tune f through a frozen h (paper sections 3.2 and 4.1).

The loss is L_h of h's boxes on f^h's maps, plus L_f = ‖f(I) − f^h(I)‖² (equation 17), which keeps
f^h near f.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import box_convert

from .backbones import Backbone, Maps
from .criterion import LossWeights, most_confident, set_loss
from .detector_inputs import arrange, stack_parts
from .errors import InputError
from .heuristics import propose_training_boxes
from .targets import as_target_list

TARGETS = ("f", "current", "h")
REGULARIZERS = ("cls", "tokens", "keys", "none")


@dataclass(frozen=True)
class RefinementOptions:
    """What is free in refining f.

    Attributes:
        targets: whose boxes h's are compared with: `f` (the paper; those of the heuristic on f),
            `current` (the released code; of the heuristic on f^h as it stands), or `h` (h's own
            most confident box on f's maps: self-training).
        regularize: on what L_f is measured: `cls` (released code), `tokens`, `keys` or `none`.
        regularize_weight: weight of L_f.
        trainable_blocks: how many of the last blocks of f move; 0 for all.
    """

    targets: str = "f"
    regularize: str = "tokens"
    regularize_weight: float = 1.0
    trainable_blocks: int = 0


class Refinement(nn.Module):
    """f^h (trained), f and h (frozen); `forward` gives the losses of a batch.

    Attributes:
        moving: how many of the last blocks of f^h are trained; what comes before them is f's.
    """

    def __init__(
        self,
        backbone: Backbone,
        detector: nn.Module,
        parts: str,
        method: str,
        method_options: Any,
        options: RefinementOptions,
        weights: LossWeights,
    ) -> None:
        super().__init__()
        self.options, self.weights = options, weights
        self.parts, self.method, self.method_options = parts, method, method_options
        self.moving = options.trainable_blocks or backbone.depth
        if not 0 < self.moving <= backbone.depth:
            raise InputError(
                f"trainable_blocks is {self.moving}, but the backbone has {backbone.depth} blocks"
            )
        self.refined = backbone.requires_grad_(False)
        backbone.trainable(self.moving).requires_grad_(True)
        # In evaluation mode throughout, h's batch norm included: the paper freezes h, and a
        # moving norm would let it drift. A list hides both from state_dict and checkpoints.
        self._frozen = [
            copy.deepcopy(backbone).eval().requires_grad_(False),
            detector.eval().requires_grad_(False),
        ]

    def to(self, *args: Any, **kwargs: Any) -> Refinement:
        """Move the frozen networks along."""
        for network in self._frozen:
            network.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    @torch.no_grad()
    def enter(self, images: Tensor) -> Tensor:
        """What the trained blocks read of images (B, 3, S, S) uint8; the same at every step."""
        original = self._frozen[0]
        return original.enter(original.prepare(images), self.moving)

    def forward(
        self, state: Tensor, grid: tuple[int, int], boxes: Tensor | None
    ) -> dict[str, Tensor]:
        """Losses of a batch: `total`, `h` (L_h) and `f` (L_f, unweighted).

        Args:
            state: the output of `enter`.
            grid: (h, w) of the patches.
            boxes: (B, 4) cxcywh in fractions of the image: the heuristic's on f, for targets
                `f`; None to propose them anew, where images are augmented.
        """
        maps = self.refined.leave(state, self.moving, grid)
        logits, predicted = self._detect(maps)
        with torch.no_grad():
            reference = self._frozen[0].leave(state, self.moving, grid)
            wanted = self._targets(reference, maps, boxes)
        loss_h = set_loss(logits, predicted, as_target_list(wanted), self.weights)["total"]
        loss_f = distance(reference, maps, self.options.regularize)
        total = loss_h + self.options.regularize_weight * loss_f
        return {"total": total, "h": loss_h, "f": loss_f}

    def _detect(self, maps: Maps) -> tuple[Tensor, Tensor]:
        detector = self._frozen[1]
        inputs = stack_parts(maps, self.parts).float()
        logits, boxes = detector(arrange(inputs, maps.grid, detector.spec.layout))
        return logits.float(), boxes.float()

    def _targets(self, reference: Maps, maps: Maps, boxes: Tensor | None) -> Tensor:
        if self.options.targets == "h":
            return most_confident(*self._detect(reference))[1]
        if self.options.targets == "f" and boxes is not None:
            return boxes
        source = maps if self.options.targets == "current" else reference
        proposed = propose_training_boxes(
            source.key, source.grid, self.method, self.method_options, source.cls_attention
        )
        return box_convert(proposed, "xyxy", "cxcywh")


def distance(reference: Maps, maps: Maps, on: str) -> Tensor:
    """L_f (equation 17): mean squared difference of [CLS] outputs, all output tokens or keys."""
    if on == "none":
        return maps.key.new_zeros(())
    if on == "keys":
        return functional.mse_loss(maps.key.float(), reference.key.float())
    chosen = slice(0, 1) if on == "cls" else slice(None)
    return functional.mse_loss(maps.tokens[:, chosen].float(), reference.tokens[:, chosen].float())
