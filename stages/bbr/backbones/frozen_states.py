"""The kept states of a dataset, read for the backbone whose last blocks go on from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.index import Index
from ..errors import InputError
from ..options import option
from .base import Backbone
from .states_h5 import StateFile, frozen_digest, images_digest


@dataclass(frozen=True)
class StateOptions:
    """What was computed before."""

    states: tuple[Path, ...] = option(
        (), "from cache_states.py: run only the last blocks", metavar="FILE"
    )


def as_inputs(states: Sequence[Path]) -> dict[str, Path]:
    """The files of --states by their role in a provenance record."""
    return {f"states{number}": path for number, path in enumerate(states)}


@dataclass(frozen=True)
class NativeState:
    """What is kept of an image: its id, (height, width) in pixels, grid (h, w), and the state."""

    image_id: int
    size: tuple[int, int]
    grid: tuple[int, int]
    state: Tensor

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"image {self.image_id}"


class FrozenStates:
    """The states of a dataset, of one file or of one for each shard, for one backbone.

    Files are opened anew in each process that reads them.

    Attributes:
        last: blocks that are left to run.
        skipped: images that could not be read: [{"image_id", "reason"}].
        square_grid: (h, w) of every image, once `require_squares` has found them to be squares.

    Raises:
        InputError: a file is no sound states file, or of other weights, or of other images.
    """

    def __init__(self, paths: Sequence[Path], backbone: Backbone, index: Index) -> None:
        self.paths = list(paths)
        self._rows: dict[int, tuple[int, int]] = {}
        self.skipped: list[dict[str, Any]] = []
        listed = images_digest(index)
        self.square_grid: tuple[int, int] = (0, 0)
        self.last = self._files[0].last
        for number, file in enumerate(self._files):
            self._require_fit(file, backbone, listed)
            self.skipped += file.skipped
            self._rows |= {i: (number, row) for row, i in enumerate(file.image_id.tolist())}
        self._close()

    def require_last(self, moving: int) -> None:
        """Check that just the blocks that move are left to run.

        Raises:
            InputError: more or fewer are.
        """
        if self.last != moving:
            raise InputError(
                f"states {self.paths[0]}: leave the last {self.last} blocks to run, but {moving}"
                f" are trained; make them with --last-blocks {moving}"
            )

    def require_squares(self, index: Index, side: int) -> None:
        """Check that every image of an index is there, and is a square of this many pixels.

        What h reads is of squares of one size; only then is it made from images at native size.

        Raises:
            InputError: one is missing, or has another size.
        """
        grid: list[int] = []
        for image in index.images:
            place = self._rows.get(image["id"])
            if place is None:
                raise self._lacks(image["id"])
            file, row = self._files[place[0]], place[1]
            size, grid = tuple(file.image_size[row].tolist()), file.grid[row].tolist()
            if size != (side, side):
                raise InputError(
                    f"states {file.path}: image {image['id']} is {size[1]}x{size[0]},"
                    f" but h reads {side}x{side}; leave --states out"
                )
        self._order = [image["id"] for image in index.images]
        self.square_grid = (grid[0], grid[1])

    def windows(self, images: Sequence[dict[str, Any]], window: int) -> Iterator[list[NativeState]]:
        """The images of an index that could be read, in its order, in windows of at most so many.

        Raises:
            InputError: one is missing, or its state is damaged.
        """
        skipped = {image["image_id"] for image in self.skipped}
        for start in range(0, len(images), window):
            part = images[start : start + window]
            yield [self._read(image["id"]) for image in part if image["id"] not in skipped]

    def prefetch(self, positions: Tensor) -> None:
        """As that of `SquareImages`; states are read when they are asked for."""

    def batch(self, positions: Tensor | Sequence[int]) -> Tensor:
        """States of the images at these positions of the index, after `require_squares`: (B, ...).

        Raises:
            InputError: one is damaged.
        """
        ids = [self._order[position] for position in torch.as_tensor(positions).tolist()]
        return torch.stack([self._read(image_id).state for image_id in ids])

    def _read(self, image_id: int) -> NativeState:
        if image_id not in self._rows:
            raise self._lacks(image_id)
        number, row = self._rows[image_id]
        file = self._files[number]
        height, width = file.image_size[row].tolist()
        rows, columns = file.grid[row].tolist()
        return NativeState(image_id, (height, width), (rows, columns), file.state(row))

    def _require_fit(self, file: StateFile, backbone: Backbone, listed: str) -> None:
        if file.images != listed:
            raise InputError(f"states {file.path}: are of other images; make them again")
        fits = file.last == self.last and backbone.reach <= file.last <= backbone.depth
        if not fits or file.frozen != frozen_digest(backbone, file.last):
            raise InputError(
                f"states {file.path}: are of other weights than these, or of other blocks, before"
                f" the last {file.last}; make them again with cache_states.py"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_files"}

    def _lacks(self, image_id: int) -> InputError:
        names = ", ".join(map(str, self.paths))
        return InputError(f"states {names}: lack image {image_id}; give those of all shards")

    @cached_property
    def _files(self) -> list[StateFile]:
        return [StateFile(path) for path in self.paths]

    def _close(self) -> None:
        for file in self.__dict__.pop("_files", ()):
            file.__exit__()
