"""The images of a refinement: which of them a step sees, and what f makes of them."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..backbones.frozen_states import FrozenStates
from ..command_line.cli import progress
from ..data.augmentation import crop_and_flip
from ..data.loading import SquareImages
from ..errors import InputError
from ..training.checkpoint_selection import SelectionOptions, hold_out
from ..training.loop import batch_indices
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

    def set_aside(
        self, selection: SelectionOptions
    ) -> tuple[RefinementBatches, RefinementBatches | None]:
        """What is trained on, and what is set aside if states are compared."""
        return (self, None) if selection.select == "last" else self.split(selection)

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
