"""What h reads: f's maps of every image at one fixed size, in `detector_inputs.h5`.

Attributes: schema, parts, grid, image_size, provenance, complete; datasets image_id (n,) and maps
(n, P, N, d), P = 3 for queries, keys and values or 1 for keys alone, chunked by image. Of masks,
maps are (n, 1, H, W) and the grid is (H, W): each pixel is then a patch of one channel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..storage.hdf5 import (
    DAMAGE,
    OutputFile,
    create_complete,
    open_unlocked,
    read_rows,
    why_unreadable,
)

if TYPE_CHECKING:  # importing timm takes seconds, and stages that only read need none of it
    pass

SCHEMA = "bbr-detector-inputs/1"
# Smaller files are read once: training reads every map again and again.
_KEPT_BYTES = 2**31


@contextlib.contextmanager
def create_detector_inputs(
    path: Path | str,
    *,
    count: int,
    shape: tuple[int, int, int],
    grid: tuple[int, int],
    image_size: int,
    parts: str,
    dtype: str,
    provenance: dict[str, Any],
) -> Iterator[OutputFile]:
    """Write an inputs file of `count` images with maps of (P, N, d) = `shape`.

    The block fills `image_id` and `maps`; the file appears, complete, when it ends without an
    exception.
    """
    about = {"parts": parts, "grid": grid, "image_size": image_size}
    with create_complete(path, SCHEMA, provenance, **about) as file:
        file.create_dataset("image_id", (count,), np.int64, fletcher32=True, chunks=(count,))
        stored = (1, *grid) if parts == "mask" else shape
        file.create_dataset("maps", (count, *stored), dtype, chunks=(1, *stored), fletcher32=True)
        yield file


class DetectorInputs:
    """A checked inputs file, open for reading batches by position; use as a context manager.

    Up to 2 GiB of maps stay in memory once read.

    Attributes:
        image_id: (n,) int64.
        grid: (h, w).
        image_size: side in pixels that images were resized to.
        parts: `k`, `qkv`, `qkv_cls` or `mask`.
        shape: (P, N, d); of masks (1, H·W, 1).

    Raises:
        InputError: not an inputs file, or not complete.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._kept: Tensor | None = None
        if not Path(path).is_file():
            raise InputError(f"inputs {path}: no such file")
        try:
            self._file = open_unlocked(path)
            attributes = dict(self._file.attrs)
            if attributes.get("schema") != SCHEMA or not attributes.get("complete", False):
                raise InputError(
                    f"inputs {path}: not a complete {SCHEMA} file; make it again with"
                    " cache_detector_inputs.py"
                )
            self.image_id: np.ndarray = self._file["image_id"][:]
            self.grid = (int(attributes["grid"][0]), int(attributes["grid"][1]))
            self.parts = str(attributes["parts"])
            self.image_size = int(attributes["image_size"])
            self.shape = self._file["maps"].shape[1:]
            if self.parts == "mask":
                self.shape = (1, self.grid[0] * self.grid[1], 1)
        except DAMAGE as error:
            raise InputError(f"inputs {path}: {why_unreadable(error)}") from error

    def __enter__(self) -> DetectorInputs:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self.image_id)

    def batch(self, positions: Tensor) -> Tensor:
        """Maps at these positions, in their order, repeats allowed: (B, P, N, d) float32.

        Raises:
            InputError: a chunk's checksum does not match.
        """
        try:
            maps = self._rows(positions)
        except DAMAGE as error:
            raise InputError(f"inputs {self.path}: maps are damaged; make it again") from error
        # Not by numpy, which takes five times as long from float16 to float32.
        return maps.float().view(len(maps), *self.shape)

    def _rows(self, positions: Tensor) -> Tensor:
        stored = self._file["maps"]
        if stored.nbytes > _KEPT_BYTES:
            return torch.from_numpy(read_rows(stored, positions.tolist()))
        if self._kept is None:
            self._kept = torch.from_numpy(stored[:])
        return self._kept[positions]
