"""The images and pseudo-boxes of CAD's training steps."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import torch
from torch import Tensor

from ..command_line.cli import progress, thread_count
from ..data.box_ops import denormalize_boxes
from ..data.images import read_indexed
from ..data.index import Index
from ..data.loading import to_tensor
from ..detector.targets import load_targets
from ..errors import InputError
from ..training.loop import batch_indices
from .network import Cad, Seen

_KEPT_BYTES = 4 * 2**30
_OBSERVED_TOGETHER = 16
_MIRRORED_SHARE = 0.5
_SMALLEST_SIDE = 1.0  # pixels; a thinner box has no finite deltas


class PseudoLabelled:
    """Images that have a pseudo-box, read when asked for and kept in memory where all fit."""

    def __init__(self, index: Index, boxes: str) -> None:
        positions, targets = load_targets(boxes, index)
        records = [index.images[i] for i in positions.tolist()]
        sizes = [index.image_size(image) for image in records]
        pixels = denormalize_boxes(targets, torch.tensor(sizes))
        usable = ((pixels[:, 2:] - pixels[:, :2]) >= _SMALLEST_SIDE).all(dim=1).tolist()
        if not any(usable):
            raise InputError(f"{boxes}: holds no box of a pixel or more to learn from")
        self.boxes = pixels[usable]
        self.sizes = [size for size, kept in zip(sizes, usable, strict=True) if kept]
        self.records = [image for image, kept in zip(records, usable, strict=True) if kept]
        self._path_of = index.image_path
        self._keep = sum(3 * height * width for height, width in self.sizes) <= _KEPT_BYTES
        self._reading: dict[int, Future[Tensor]] = {}

    def __len__(self) -> int:
        return len(self.records)

    def prefetch(self, positions: Iterable[int]) -> None:
        """Begin to read images that will be asked for."""
        for position in positions:
            if position not in self._reading:
                self._reading[position] = self._pool.submit(self._read, position)

    def images(self, positions: list[int]) -> list[Tensor]:
        """(3, H, W) uint8 at native size, one for each position."""
        self.prefetch(positions)
        found = [self._reading[position].result() for position in positions]
        if not self._keep:
            for position in positions:
                self._reading.pop(position, None)
        return found

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        # Made on first use, so that the object can be sent to another process before.
        return ThreadPoolExecutor(max_workers=thread_count())

    def _read(self, position: int) -> Tensor:
        record = self.records[position]
        return to_tensor(read_indexed(self._path_of(record), record))


class CadBatches:
    """What CAD sees at each step: images, about half of them mirrored, and their boxes.

    Where images have one size and are resized to one size, mirroring is all that changes from
    step to step, so that what the frozen levels make of them is kept for all images. It is made
    in an order of its own: a resumed run then has the same bits.
    """

    def __init__(
        self, data: PseudoLabelled, batch_size: int, seed: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.rank, self.ranks = rank, ranks
        self._kept: Seen | None = None

    def cache_features(self, network: Cad, steps: int) -> None:
        """Run the frozen levels on all images once, where that is less work and fits in memory."""
        count = len(self.data)
        work = steps * self.batch_size // self.ranks
        one_size = len(set(self.data.sizes)) == 1 and len(network.resize.min_size) == 1
        if not network.spec.frozen_levels or not one_size or work <= 2 * count:
            return
        one = self._observe([0], [False], network)
        if one.features.nbytes * 2 * count > _KEPT_BYTES:
            return
        parts = [
            ([int(i) for i in part], mirrored)
            for mirrored in (False, True)
            for part in torch.arange(count).split(_OBSERVED_TOGETHER)
        ]
        seen = [
            self._observe(part, [mirrored] * len(part), network)
            for part, mirrored in progress(parts, len(parts), "batches observed")
        ]
        self._kept = Seen(
            torch.cat([part.features.cpu() for part in seen]),
            [size for part in seen for size in part.sizes],
            one.padded,
            [boxes.cpu() for part in seen for boxes in part.boxes],
        )

    def batch(self, step: int, generator: torch.Generator, network: Cad) -> Seen:
        """This process's part of the batch of a step."""
        chosen = self._positions(step)
        mirrored = torch.rand(len(chosen), generator=generator) < _MIRRORED_SHARE
        if self._kept is not None:
            count = len(self.data)
            rows = (torch.tensor(chosen) + mirrored * count).tolist()
            return _of_kept(self._kept, rows, _device(network))
        seen = self._observe(chosen, mirrored.tolist(), network)
        self.data.prefetch(self._positions(step + 1))
        return seen

    def _positions(self, step: int) -> list[int]:
        chosen = batch_indices(len(self.data), self.batch_size, self.seed, step)
        return chosen[self.rank :: self.ranks].tolist()

    def _observe(self, positions: list[int], mirrored: list[bool], network: Cad) -> Seen:
        images, boxes = [], []
        pairs = zip(self.data.images(positions), self.data.boxes[positions], mirrored, strict=True)
        for image, box, flip in pairs:
            image, box = mirror(image, box) if flip else (image, box)
            images.append(image.to(_device(network)))
            boxes.append(box.unsqueeze(0).to(_device(network)))
        return network.see(images, boxes)


def mirror(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Left and right exchanged: of an image (3, H, W) and of its boxes (..., 4), `xyxy` pixels."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    width = image.shape[-1]
    return image.flip(-1), torch.stack((width - x2, y1, width - x1, y2), dim=-1)


def _device(network: Cad) -> torch.device:
    return next(network.parameters()).device


def _of_kept(kept: Seen, rows: list[int], place: torch.device) -> Seen:
    return Seen(
        kept.features[rows].to(place),
        [kept.sizes[row] for row in rows],
        kept.padded,
        [kept.boxes[row].to(place) for row in rows],
    )
