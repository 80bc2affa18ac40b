"""f^h: fine-tune f through a frozen h (paper sections 3.2 and 4.1).

The loss is L_h of h's boxes on f^h's maps, plus L_f = ‖f(I) − f^h(I)‖² (equation 17), which keeps
f^h near f.

Where h was taught on the boxes that stand out alone, it is better than f's heuristic, but of no use
as the reader of f^h's maps: asked for its own boxes it has nothing to say. A *surrogate* then reads
them: a detector like h, taught on all of f's boxes, mistakes included, and so a differentiable
stand-in for the heuristic. f^h is to change until the surrogate answers as h does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backbones.base import Backbone
from ..backbones.feature_maps import FeatureMaps
from ..backbones.masked import Segmenter
from ..data.augmentation import ChannelDropout, drop_channels
from ..detector.layout import arrange, extras_of_parts, parts_grid, stack_parts
from ..detector.set_loss import LossWeights, most_confident, set_loss
from ..detector.targets import as_target_list
from ..errors import InputError
from ..heuristics.registry import extras_of_method, propose_targets
from ..options import option
from ..training.alternation import Alternating
from ..training.checkpoint_selection import evaluating
from .regularizer import REGULARIZERS, extras_of_regularizer, regularized

if TYPE_CHECKING:
    from ..detector.networks import Detector

TARGETS = ("f", "current", "h")
STATISTICS = ("running", "batch")


@dataclass(frozen=True)
class RefinementOptions(ChannelDropout):
    """What is free in refining f.

    Targets are the boxes of the heuristic on f (`f`, the paper), of the heuristic on f^h as it
    stands (`current`, the released code), or h's own most confident box on f's maps (`h`:
    self-training). L_f compares [CLS] in the released code, and the mask for MOVE.
    """

    targets: str = option("f", "boxes that h is asked for", choices=TARGETS)
    regularize: str = option("tokens", "what L_f compares", choices=REGULARIZERS)
    regularize_weight: float = option(1.0, "of L_f", min=0)
    trainable_blocks: int = option(0, "last blocks of f that move, 0 for all", min=0)
    reinit_head: bool = option(False, "train a segmenter's head from random numbers")
    keep_norm: bool = option(
        False,
        "leave the norm before a segmenter's head as it is, as in the released code",
        later=True,
    )
    anchor_statistics: str = option(
        "running",
        "of the batch norms of the segmenter's head that L_f compares with: its own, or those of"
        " each batch, as in the released code",
        choices=STATISTICS,
        later=True,
    )


class Fixed(NamedTuple):
    """What does not change for B images while f^h is trained.

    Attributes:
        state: (B, ...) what the trained blocks read.
        anchor: (B, M, D) f's output that L_f compares with.
        boxes: (B, 4) cxcywh in fractions of the image: the targets, unless they are `current`.
    """

    state: Tensor
    anchor: Tensor
    boxes: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Fixed:
        """The same with every tensor changed by `function`."""
        return Fixed(*map(function, self))


class Refinement(Alternating):
    """f^h (trained), f and h (frozen); `forward` gives the losses of a batch.

    With `moves_detector`, f^h and h take turns.

    Attributes:
        moving: how many of the last blocks of f^h are trained; what comes before them is f's.
    """

    def __init__(
        self,
        backbone: Backbone,
        detector: Detector,
        parts: str,
        method: str,
        method_options: Any,
        options: RefinementOptions,
        weights: LossWeights,
        moves_detector: bool = False,
        surrogate: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.options, self.weights = options, weights
        self.parts, self.method, self.method_options = parts, method, method_options
        self._extras = extras_of_parts(parts) | extras_of_method(method)
        self._extras |= extras_of_regularizer(options.regularize)
        self.moving = _moving_blocks(backbone, options.trainable_blocks)
        self.refined = backbone.requires_grad_(False)
        backbone.trainable(self.moving).requires_grad_(True)
        # In evaluation mode throughout, h's batch norm included: the paper freezes h, and a
        # moving norm would let it drift. A list hides both from state_dict and checkpoints.
        self._frozen: list[Any] = [
            copy.deepcopy(backbone).eval().requires_grad_(False),
            detector.eval().requires_grad_(False),
        ]
        if options.anchor_statistics == "batch":
            _keep_statistics(self._frozen[0])
        if surrogate is not None:
            if moves_detector:
                raise InputError("a surrogate does not move with h; use --rounds 1 or none")
            self._frozen.append(surrogate.eval().requires_grad_(False))
        if options.reinit_head:
            if not isinstance(backbone, Segmenter):
                raise InputError("reinit_head: this backbone has no head; give a segmenter")
            backbone.reset(keep_norm=options.keep_norm)
            # Its own batch norms start without statistics and have to gather them.
            backbone.head.train()
        if options.keep_norm and isinstance(backbone, Segmenter):
            backbone.norm.requires_grad_(False)
        if moves_detector:
            self.let_move(self._frozen.pop())

    @property
    def student(self) -> nn.Module:
        """f^h."""
        return self.refined

    def to(self, *args: Any, **kwargs: Any) -> Refinement:
        """Move the frozen networks along."""
        for network in self._frozen:
            network.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    @torch.no_grad()
    def precompute(self, images: Tensor, boxes: Tensor | None) -> Fixed:
        """All that stays the same for a batch while f^h moves.

        Args:
            images: (B, 3, S, S) uint8.
            boxes: (B, 4) cxcywh in fractions of the image: the heuristic's on f, for targets
                `f`; None to propose them anew, where images are augmented.
        """
        original = self._frozen[0]
        pixels = original.prepare(images)
        state = original.frozen_forward(pixels, self.moving)
        return self.observe_states(state, original.patch_grid(pixels), boxes)

    @torch.no_grad()
    def observe_states(self, state: Tensor, grid: tuple[int, int], boxes: Tensor | None) -> Fixed:
        """`precompute`, from what the trained blocks read of the images: (B, ...)."""
        original = self._frozen[0]
        # The boxes of f are those of the same masks, as in the released code.
        original.train(self.options.anchor_statistics == "batch")
        maps = original.trainable_forward(state, self.moving, grid, self._extras)
        original.eval()
        if self.options.targets == "h":
            boxes = most_confident(*self._detect(maps))[1]
        elif boxes is None:
            boxes = self._propose(maps)
        return Fixed(state, regularized(maps, self.options.regularize), boxes.to(state.device))

    def forward(
        self, fixed: Fixed, grid: tuple[int, int], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Losses of a batch: `total`, `h` (L_h) and `f` (L_f, unweighted).

        Args:
            fixed: the output of `precompute`.
            grid: (h, w) of the patches.
            generator: draws which channels h is shown; None shows all.
        """
        maps = self.refined.trainable_forward(fixed.state, self.moving, grid, self._extras)
        logits, predicted = self._detect(maps, generator, through_surrogate=True)
        anew = self.detectors_turn or self.options.targets == "current"
        wanted = self._propose(maps) if anew else fixed.boxes
        loss_h = set_loss(logits, predicted, as_target_list(wanted), self.weights)["total"]
        # Equation 17, as a mean over elements; without a term both sides are empty.
        moved = regularized(maps, self.options.regularize)
        loss_f = functional.mse_loss(moved, fixed.anchor) if moved.numel() else moved.sum()
        total = loss_h + self.options.regularize_weight * loss_f
        return {"total": total, "h": loss_h, "f": loss_f}

    @torch.no_grad()
    def own_boxes(self, fixed: Fixed, grid: tuple[int, int]) -> Tensor:
        """h's most confident box on f's maps, with all channels: (B, 4) cxcywh in fractions.

        See `forward` for the arguments.
        """
        if self.options.targets == "h":
            return fixed.boxes
        original = self._frozen[0]
        maps = original.trainable_forward(fixed.state, self.moving, grid, self._extras)
        return most_confident(*self._detect(maps))[1]

    @torch.no_grad()
    def found_boxes(self, fixed: Fixed, grid: tuple[int, int]) -> Tensor:
        """The heuristic's boxes on the maps of f^h in evaluation mode, as `own_boxes` has h's."""
        with evaluating(self.refined):
            maps = self.refined.trainable_forward(fixed.state, self.moving, grid, self._extras)
        return self._propose(maps)

    def _detect(
        self,
        maps: FeatureMaps,
        generator: torch.Generator | None = None,
        through_surrogate: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """h, or the surrogate if there is one, on all channels or what `generator` leaves."""
        detector = self._frozen[1] if len(self._frozen) > 1 else self.detector
        if through_surrogate and len(self._frozen) > 2:
            detector = self._frozen[2]
        inputs = stack_parts(maps, self.parts).float()
        if generator is not None:
            inputs = drop_channels(inputs, self.options.channel_dropout, generator)
        grid = parts_grid(maps, self.parts)
        logits, boxes = detector(arrange(inputs, grid, detector.spec.layout))
        return logits.float(), boxes.float()

    @torch.no_grad()
    def _propose(self, maps: FeatureMaps) -> Tensor:
        """The heuristic's boxes on these maps: (B, 4) cxcywh in fractions of the image."""
        return propose_targets(maps, self.method, self.method_options)


def _moving_blocks(backbone: Backbone, trainable_blocks: int) -> int:
    """How many of the last blocks move, where 0 stands for all."""
    moving = trainable_blocks or backbone.depth
    if not 0 < moving <= backbone.depth:
        raise InputError(
            f"trainable_blocks is {moving}, but the backbone has {backbone.depth} blocks"
        )
    if moving < backbone.reach:
        raise InputError(
            f"trainable_blocks is {moving}, but h reads block {backbone.spec.block}, which comes"
            f" before those; use at least {backbone.reach}, or 0 for all"
        )
    return moving


def _keep_statistics(network: nn.Module) -> None:
    """Let batches go through in training mode without a trace in the gathered statistics.

    The released code's move with each batch, but it never reads them. Here `agreement` does, which
    must not depend on how many steps this process has seen.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
