"""Training batches of g: images, random texts of them, and what a frozen trunk makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..clip.network import Clip, to_unit
from ..command_line.cli import progress
from ..data.loading import SquareImages
from ..options import option
from .network import Grounder
from .texts import Entry, draw_entry, draw_text

_OBSERVED_AT_ONCE = 32
_KEPT_BYTES = 4 * 2**30


class GroundingBatch(NamedTuple):
    """B images and a text of each.

    Attributes:
        images: (B, 3, S, S) in [0, 1].
        planes: (B, C, h, w) of g's trunk where that is frozen, else None.
        texts: (B, d), unit embeddings.
        mirrored: (B,) which images are; None for none.
    """

    images: Tensor
    planes: Tensor | None
    texts: Tensor
    mirrored: Tensor | None = None

    def turn(self, boxes: Tensor) -> Tensor:
        """Boxes (B, T, 4) cxcywh in fractions of the images as they lie in these."""
        if self.mirrored is None:
            return boxes
        turned = torch.cat((1 - boxes[..., :1], boxes[..., 1:]), dim=-1)
        return torch.where(self.mirrored.view(-1, 1, 1), turned, boxes)


@dataclass(frozen=True)
class Mirroring:
    """Whether images are mirrored."""

    mirror: bool = option(
        False, "half the images of each step, drawn anew, as in WWbL's code", later=True
    )


class GroundingBatches:
    """Gives the batch of a step; an item is a list of entries of one image to choose from."""

    def __init__(
        self,
        images: SquareImages,
        choices: list[list[Entry]],
        grounder: Grounder,
        clip: Clip,
        fabric: Fabric,
        mirror: bool = False,
    ) -> None:
        self.images, self.choices, self.clip, self.fabric = images, choices, clip, fabric
        self.mirror = mirror
        self.positions = torch.tensor([entries[0].position for entries in choices])
        self._encode = grounder.encode if grounder.spec.frozen_trunk else None
        self._kept: Tensor | None = None

    def __len__(self) -> int:
        return len(self.choices)

    def cache_features(self) -> None:
        """Run a frozen trunk on every image once, where its maps fit in memory."""
        if self._encode is None or self.mirror:
            return
        with torch.no_grad():
            one = self._encode(to_unit(self.fabric.to_device(self.images.batch([0]))))
        if 4 * one.numel() * len(self.images) <= _KEPT_BYTES:
            self._kept = observe_images(self.images, self._encode, self.fabric)

    @torch.no_grad()
    def batch(self, chosen: Tensor, generator: torch.Generator) -> GroundingBatch:
        """The items `chosen`, each with one of its texts, drawn anew."""
        positions = self.positions[chosen]
        texts = [
            draw_text(draw_entry(self.choices[i], generator), generator) for i in chosen.tolist()
        ]
        images = to_unit(self.fabric.to_device(self.images.batch(positions)))
        mirrored = None
        if self.mirror:
            mirrored = torch.rand(len(images), generator=generator) < 0.5
            images = torch.where(self._column(mirrored), images.flip(-1), images)
        planes = None
        if self._kept is not None:
            planes = self.fabric.to_device(self._kept[positions])
        elif self._encode is not None:
            planes = self._encode(images)
        return GroundingBatch(images, planes, self.clip.encode_texts(texts), mirrored)

    def _column(self, chosen: Tensor) -> Tensor:
        return self.fabric.to_device(chosen).view(-1, 1, 1, 1)


@torch.no_grad()
def observe_images(
    images: SquareImages, observe: Callable[[Tensor], Tensor], fabric: Fabric
) -> Tensor:
    """`observe` of every image in [0, 1], in order: (n, ...) on the CPU.

    In batches of their own, so that a resumed run has the same bits as an unbroken one.
    """
    parts = torch.arange(len(images)).split(_OBSERVED_AT_ONCE)

    def look(part: Tensor) -> Tensor:
        return observe(to_unit(fabric.to_device(images.batch(part)))).float().cpu()

    return torch.cat([look(part) for part in progress(parts, len(parts), "batches observed")])
