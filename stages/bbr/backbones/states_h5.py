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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.index import Index
from ..errors import InputError
from ..storage.hdf5 import CheckedFile, GrowingFile, OutputFile, create_complete
from .base import Backbone
from .stored_values import to_stored

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
        if not self.has("shape"):
            self.create("shape", np.int32, (state.ndim,), rows=1024)
        self.append_rows("image_id", np.array([image_id]))
        self.append_rows("image_size", np.array([image_size]))
        self.append_rows("grid", np.array([grid]))
        self.append_rows("shape", np.array([state.shape]))
        kind, what = self.dtype("state"), f"state of image {image_id}"
        self.append_rows("state", to_stored(state.flatten(), kind, what))
        self.append_rows("offset", np.array([self.count("state")]))


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
    about = {
        "backbone": backbone.spec.architecture,
        "last": last,
        "frozen": frozen_digest(backbone, last),
        "images": images_digest(index),
    }
    with (
        create_complete(path, SCHEMA, provenance, **about) as file,
        StateWriter(file, dtype) as writer,
    ):
        yield writer


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
