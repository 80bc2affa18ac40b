"""What the last blocks of a backbone read of every image, kept once: `states.h5`.

All that comes before the blocks that training moves is the same for f, for h's inputs, for f^h of
every seed and for every step of its training. The file holds it at native size, ragged:

    attributes    schema "bbr-states/1", backbone, last (blocks that are left to run), frozen (see
                  `frozen_digest`), images (see `images_digest`), skipped, provenance (JSON),
                  complete (true, written last)
    /image_id     (n,)     int64
    /image_size   (n, 2)   int32    height, width in pixels, unpadded
    /grid         (n, 2)   int32    patch rows, columns
    /shape        (n, r)   int32    of an image's state: (1 + N, D) of a transformer, with its
                                    registers; (C, H, W) of a convolutional network
    /offset       (n+1,)   int64    values of image i are offset[i]:offset[i+1]
    /state        (V,)     float16 or float32

Every dataset has checksums, and the states are refused to weights whose frozen part is another.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.index import Index
from ..errors import InputError
from ..options import option
from ..storage.atomic import atomic_path
from ..storage.hdf5 import CheckedFile, GrowingFile, OutputFile, create_hdf5
from .base import Backbone
from .features_h5 import to_stored

SCHEMA = "bbr-states/1"
_CHUNK_VALUES = 2**18
_PER_IMAGE = {"image_id": (np.int64, ()), "image_size": (np.int32, (2,)), "grid": (np.int32, (2,))}


def frozen_digest(backbone: Backbone, last: int) -> str:
    """SHA-256 of all that `frozen_forward(prepare(images), last)` depends on.

    That is the specification and tensors.

    f and an f^h whose last `last` blocks alone were trained have the same.
    """
    moving = backbone.trainable(last)
    named = {id(tensor) for tensor in (*moving.parameters(), *moving.buffers())}
    spec = backbone.spec
    read = {
        "architecture": spec.architecture,
        "arguments": spec.arguments,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "scale": spec.scale,
        "segmenter": spec.segmenter is not None,
        "last": last,
    }
    digest = hashlib.sha256(json.dumps(read, sort_keys=True).encode())
    kept = backbone.state_dict(keep_vars=True)
    for name, tensor in sorted(kept.items()):
        if id(tensor) not in named:
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
            digest.update(values.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def images_digest(index: Index) -> str:
    """SHA-256 of which images an index lists: ids, sizes, and the checksums of their files.

    Names count only where there is no checksum, so that a dataset may be moved or renamed.
    """
    known = ("id", "width", "height", "crc32")
    listed = [
        [*(image.get(key) for key in known), None if "crc32" in image else image["file_name"]]
        for image in index.images
    ]
    side = index.max_side
    if side and any(max(i.get("width", 0), i.get("height", 0)) > side for i in index.images):
        listed.append([side])  # to which some of them are shrunk
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def last_blocks(backbone: Backbone, asked: int) -> int:
    """How many blocks states leave to run where `asked` of them are to move.

    More, where heuristics read a block before those.

    Raises:
        InputError: the backbone has not so many blocks.
    """
    if not 0 < asked <= backbone.depth:
        raise InputError(f"--last-blocks {asked}: the backbone has {backbone.depth} blocks")
    return max(asked, backbone.reach)


@dataclass(frozen=True)
class StateOptions:
    """What was computed before."""

    states: tuple[Path, ...] = option(
        (), "from cache_states.py: run only the last blocks", metavar="FILE"
    )


def as_inputs(states: Sequence[Path]) -> dict[str, Path]:
    """The files of --states by their role in a provenance record."""
    return {f"states{number}": path for number, path in enumerate(states)}


class StateWriter(GrowingFile):
    """Appends images to an open file; `complete` is set by `create_states` at the very end."""

    def __init__(self, file: OutputFile, dtype: str) -> None:
        super().__init__(file)
        for name, (kind, shape) in _PER_IMAGE.items():
            self.create(name, kind, shape, rows=1024)
        self.create("offset", np.int64, (), rows=1024)
        self.append_rows("offset", np.zeros(1, dtype=np.int64))
        self.create("state", np.dtype(dtype), (), rows=_CHUNK_VALUES)

    def append(
        self, image_id: int, image_size: tuple[int, int], grid: tuple[int, int], state: Tensor
    ) -> None:
        """Add one image: size in pixels (height, width), grid (h, w), its state of any shape.

        Raises:
            InputError: a value is not finite, or too large for the file's type.
            OSError: a write failed.
        """
        if "shape" not in self.datasets:
            self.create("shape", np.int32, (state.ndim,), rows=1024)
        self.append_rows("image_id", np.array([image_id]))
        self.append_rows("image_size", np.array([image_size]))
        self.append_rows("grid", np.array([grid]))
        self.append_rows("shape", np.array([state.shape]))
        kind, what = self.datasets["state"].dtype, f"state of image {image_id}"
        self.append_rows("state", to_stored(state.flatten(), kind, what))
        self.append_rows("offset", np.array([len(self.datasets["state"])]))
        self.file.check()

    def note_skipped(self, skipped: list[dict[str, Any]]) -> None:
        """Record the images that could not be read: [{"image_id", "reason"}]."""
        self.file.attrs["skipped"] = json.dumps(skipped)


@contextlib.contextmanager
def create_states(
    path: Path | str,
    *,
    backbone: Backbone,
    last: int,
    index: Index,
    dtype: str,
    provenance: dict[str, Any],
) -> Iterator[StateWriter]:
    """Write a states file; it appears, complete, when the block ends without an exception.

    Args:
        last: blocks that are left to run, from `last_blocks`.
        index: that lists the images.
        dtype: `float16` or `float32`.
    """
    with atomic_path(path) as temporary, create_hdf5(temporary) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["backbone"] = backbone.spec.architecture
        file.attrs["last"] = last
        file.attrs["frozen"] = frozen_digest(backbone, last)
        file.attrs["images"] = images_digest(index)
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
        yield StateWriter(file, dtype)
        file.attrs["complete"] = True


class StateFile(CheckedFile):
    """A checked states file, open for reading; use as a context manager.

    Raises:
        InputError: not a states file, not complete, or its parts do not fit together.
    """

    role, schema = "states", SCHEMA

    def __len__(self) -> int:
        return len(self.image_id)

    def _check(self, attributes: dict[str, Any]) -> None:
        self.last = int(attributes["last"])
        self.frozen, self.images = str(attributes["frozen"]), str(attributes["images"])
        self.skipped: list[dict[str, Any]] = json.loads(attributes.get("skipped", "[]"))
        self.image_id, self.image_size, self.grid, self.offset = (
            self._read(name) for name in ("image_id", "image_size", "grid", "offset")
        )
        count = len(set(self.image_id.tolist()))
        self.shape = self._read("shape") if count else np.zeros((0, 2), np.int32)
        consistent = (
            self.image_id.shape == (count,)
            and self.image_size.shape == self.grid.shape == (count, 2)
            and len(self.shape) == count
            and self.offset.shape == (count + 1,)
            and self.offset[0] == 0
            and (np.diff(self.offset) == self.shape.prod(axis=1, dtype=np.int64)).all()
            and self._file["state"].shape == (self.offset[-1],)
        )
        if not consistent:
            raise self._error("shape, offset and state do not fit together; make it again")

    def state(self, row: int) -> Tensor:
        """The state of the image at a row, as float32.

        Raises:
            InputError: its checksum does not match.
        """
        values = self._read("state", slice(*self.offset[row : row + 2].tolist()))
        return torch.from_numpy(values).float().reshape(self.shape[row].tolist())


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
