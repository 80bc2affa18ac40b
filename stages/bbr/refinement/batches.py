"""The images of a refinement: which of them a step sees, and what f makes of them."""

from __future__ import annotations

import math

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..backbones.frozen_states import FrozenStates
from ..command_line.cli import log, progress
from ..data.augmentation import crop_and_flip
from ..data.loading import SquareImages
from ..errors import InputError
from ..training.loop import batch_indices
from .checkpoint_selection import BestState, SelectionOptions, hold_out, is_worse
from .objective import Fixed, Refinement

_KEPT_BYTES = 4 * 2**30


class RefinementBatches:
    """The images of a step, or a process's part of them, as f sees them.

    Without augmentation that is the same at every step, so it is kept for all images, made in an
    order of its own: a resumed run then has the same bits.

    Attributes:
        images: the whole dataset, or what f's frozen part has made of it.
        positions: (n,) int64, those of its images that are used.
        targets: (n, 4) cxcywh, the boxes that f^h is to learn; None to augment images and to
            propose boxes anew.
        native: whether augmented images are crops of what lies on disk, not of resized ones.
    """

    def __init__(
        self,
        images: SquareImages | FrozenStates,
        positions: Tensor,
        targets: Tensor | None,
        batch_size: int,
        seed: int,
        native: bool = False,
    ) -> None:
        self.images, self.positions, self.targets = images, positions, targets
        self.batch_size, self.seed, self.native = batch_size, seed, native
        self._kept: Fixed | None = None

    def split(self, selection: SelectionOptions) -> tuple[RefinementBatches, RefinementBatches]:
        """Those to train on, and those that are set aside, which are not augmented."""
        share, most = selection.select_fraction, selection.select_max_images
        rest, aside = hold_out(len(self.positions), share, self.seed, most)
        shared = (self.batch_size, self.seed)
        targets = None if self.targets is None else self.targets[rest]
        unused = torch.zeros(len(aside), 4)  # boxes to be learned, which here none are
        return (
            RefinementBatches(
                self.images, self.positions[rest], targets, *shared, native=self.native
            ),
            RefinementBatches(self.images, self.positions[aside], unused, *shared),
        )

    def set_aside(self, selection: SelectionOptions) -> tuple[RefinementBatches, Selector | None]:
        """What is trained on, and what compares states on the images that are set aside."""
        if selection.select == "last":
            return self, None
        rest, aside = self.split(selection)
        return rest, Selector(selection, aside)

    def cache_features(self, model: Refinement, fabric: Fabric, steps: int) -> None:
        """Observe all images once, where that is less work than `steps` batches and fits memory."""
        count = len(self.positions)
        if self.targets is None or steps * self.batch_size <= count:
            return
        one = self._observe(torch.arange(1), model, fabric, None)
        if sum(tensor.nbytes for tensor in one) * count > _KEPT_BYTES:
            return
        parts = self.all()
        seen = [
            self._observe(part, model, fabric, None).map(Tensor.cpu)
            for part in progress(parts, len(parts), "batches observed")
        ]
        self._kept = Fixed(*map(torch.cat, zip(*seen, strict=True)))

    def all(self) -> tuple[Tensor, ...]:
        """Every image once, in batches."""
        return torch.arange(len(self.positions)).split(self.batch_size)

    def indices(self, step: int, fabric: Fabric) -> Tensor:
        """What this process works on in a step."""
        chosen = batch_indices(len(self.positions), self.batch_size, self.seed, step)
        return chosen[fabric.global_rank :: fabric.world_size]

    def prefetch(self, step: int, fabric: Fabric) -> None:
        """Begin to read the images of a step, while a device works on the one before."""
        if self._kept is None and not self.native:
            self.images.prefetch(self.positions[self.indices(step, fabric)])

    def batch(
        self, chosen: Tensor, generator: torch.Generator | None, model: Refinement, fabric: Fabric
    ) -> Fixed:
        """What f makes of these images, augmented by `generator` if at all."""
        if self._kept is not None:
            return self._kept.map(lambda tensor: fabric.to_device(tensor[chosen]))
        return self._observe(chosen, model, fabric, generator)

    def _observe(
        self,
        chosen: Tensor,
        model: Refinement,
        fabric: Fabric,
        generator: torch.Generator | None,
    ) -> Fixed:
        if self.native and self.targets is None:
            if isinstance(self.images, FrozenStates) or generator is None:
                raise TypeError("crops are of images, and drawn by a generator")
            crops = self.images.native_crops(self.positions[chosen], generator)
            return model.precompute(fabric.to_device(crops), None)
        images = fabric.to_device(self.images.batch(self.positions[chosen]))
        if isinstance(self.images, FrozenStates):
            if self.targets is None:
                raise InputError("augmentation needs the images themselves; leave --states out")
            return model.observe_states(images, self.images.square_grid, self.targets[chosen])
        if self.targets is not None:
            return model.precompute(images, self.targets[chosen])
        if generator is None:
            raise TypeError("images without targets are augmented, which takes a generator")
        return model.precompute(crop_and_flip(images, generator), None)


class Selector:
    """Compares states of f^h on images set aside, and keeps the best; f, where none is as good."""

    def __init__(self, options: SelectionOptions, aside: RefinementBatches) -> None:
        self.options, self.aside = options, aside
        self._of_f: Tensor | None = None  # nothing is compared with it until it is there

    def begin(self, model: Refinement) -> None:
        """Give the model a place for its best state, which goes into checkpoints with it."""
        model.best = BestState(model.changing())

    def compare(
        self, model: Refinement, grid: tuple[int, int], fabric: Fabric, step: int, steps: int
    ) -> None:
        """Offer the state after `step` of `steps` steps, where it is time to; 0 is f itself."""
        if not self.options.looks_after(step, steps):
            return
        ious = self._agreement(model, grid, fabric)
        score = ious.mean().item()
        if fabric.is_global_zero:
            log.info("agreement with h after %d steps: %.4f", step, score)
        if step == 0:
            self._of_f = ious
            if score < self.options.select_min_agreement:
                log.info("h and the heuristic agree too little on f: f is kept")
                model.best.close()
        elif self._of_f is None or not is_worse(ious, self._of_f):
            model.best.offer(score, step, model.changing())

    def is_over(self, model: Refinement) -> bool:
        """Whether f is kept whatever is to come, since h is not to be trusted."""
        return model.best.closed

    def restore(self, model: Refinement) -> dict[str, float | None]:
        """Bring the best state back; what the provenance says of it."""
        model.best.restore(model.changing())
        step = model.best.step.item()
        if step == 0 and not self.is_over(model):
            log.info("f^h is farther from h's boxes than f in every state: f is kept")
        score = model.best.score.item()
        return {
            "step": step,
            "agreement": round(score, 6) if math.isfinite(score) else None,
            "agreement_of_f": None if self._of_f is None else round(self._of_f.mean().item(), 6),
        }

    def _agreement(self, model: Refinement, grid: tuple[int, int], fabric: Fabric) -> Tensor:
        """IoU of the heuristic's box on f^h with h's on f, of each image set aside: (m,) float64.

        Every process looks at all of them, so that all come to the same number.
        """
        ious = []
        for chosen in self.aside.all():
            with fabric.autocast():
                fixed = self.aside.batch(chosen, None, model, fabric)
                ious.append(model.agreement(fixed, grid).double())
        return torch.cat(ious).cpu()
