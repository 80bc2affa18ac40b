"""What h reads: f's maps of every image at one fixed size, in `detector_inputs.h5`.

Attributes: schema, parts, grid, image_size, provenance, complete; datasets image_id (n,) and maps
(n, P, N, d), P = 3 for queries, keys and values or 1 for keys alone, chunked by image. Of masks,
maps are (n, 1, H, W) and the grid is (H, W): each pixel is then a patch of one channel.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import torch
from torch import Tensor

from .errors import InputError
from .files import atomic_path
from .hdf5 import DAMAGE, OutputFile, create_hdf5, read_rows

if TYPE_CHECKING:  # importing timm takes seconds, and stages that only read need none of it
    from .backbone import Backbone, Maps

SCHEMA = "bbr-detector-inputs/1"
PARTS = ("k", "qkv", "mask")


def stack_parts(maps: Maps, parts: str) -> Tensor:
    """The maps that h reads: (B, P, N, d); of a mask (B, 1, H·W, 1).

    Raises:
        InputError: queries and values, or a mask, are wanted of a backbone that has none.
    """
    if parts == "k":
        return maps.key.unsqueeze(1)
    if parts == "mask":
        if maps.mask is None:
            raise InputError("this backbone gives no mask; use a segmenter, or parts: k")
        return maps.mask.flatten(1)[:, None, :, None]
    if maps.query is None or maps.value is None:
        raise InputError("a convolutional backbone has no queries and values; use parts: k")
    return torch.stack((maps.query, maps.key, maps.value), dim=1)


def parts_grid(maps: Maps, parts: str) -> tuple[int, int]:
    """The grid (h, w) of what `stack_parts` gives."""
    if parts == "mask" and maps.mask is not None:
        height, width = maps.mask.shape[-2:]
        return height, width
    return maps.grid


def parts_shape(
    backbone: Backbone, image_size: int, parts: str
) -> tuple[tuple[int, int], tuple[int, int, int]]:
    """Grid (h, w) and shape (P, N, d) of what a backbone gives of square images.

    Raises:
        InputError: a mask is wanted of a backbone that has none.
    """
    rows, columns = backbone.grid_of(image_size, image_size)
    if parts != "mask":
        return (rows, columns), (len(parts), rows * columns, backbone.dim)
    if backbone.spec.segmenter is None:
        raise InputError("parts mask: this backbone gives no mask; use a segmenter, or parts: k")
    cells = 2**backbone.spec.segmenter.upsamplings
    rows, columns = rows * cells, columns * cells
    return (rows, columns), (1, rows * columns, 1)


def arrange(maps: Tensor, grid: tuple[int, int], layout: str) -> Tensor:
    """Maps (B, P, N, d) in the layout of h's specification.

    Returns:
        `qkv_image`: (B, P, N, d) as it is, an image of N × d "pixels"; `spatial`: (B, P·d, h, w);
        `mask_image`: the mask as a grey image (B, 3, h, w).

    Raises:
        InputError: `qkv_image` of keys alone, or `mask_image` of what is no mask.
    """
    if layout == "qkv_image":
        if maps.shape[1] != 3:
            raise InputError("layout qkv_image needs queries, keys and values; use parts: qkv")
        return maps
    planes = maps.permute(0, 1, 3, 2).flatten(1, 2).unflatten(2, grid)
    if layout == "mask_image":
        if planes.shape[1] != 1:
            raise InputError("layout mask_image needs a mask; use parts: mask")
        return planes.expand(-1, 3, -1, -1)
    return planes


def layout_channels(parts: int, dim: int, layout: str) -> int:
    """Channels of what `arrange` returns."""
    return {"spatial": parts * dim, "qkv_image": parts, "mask_image": 3}[layout]


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
    with atomic_path(path) as temporary, create_hdf5(temporary) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["parts"] = parts
        file.attrs["grid"] = grid
        file.attrs["image_size"] = image_size
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
        file.create_dataset("image_id", (count,), np.int64, fletcher32=True, chunks=(count,))
        stored = (1, *grid) if parts == "mask" else shape
        file.create_dataset("maps", (count, *stored), dtype, chunks=(1, *stored), fletcher32=True)
        yield file
        file.attrs["complete"] = True


class DetectorInputs:
    """A checked inputs file, open for reading batches by position; use as a context manager.

    Attributes:
        image_id: (n,) int64.
        grid: (h, w).
        image_size: side in pixels that images were resized to.
        parts: `k`, `qkv` or `mask`.
        shape: (P, N, d); of masks (1, H·W, 1).

    Raises:
        InputError: not an inputs file, or not complete.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        if not Path(path).is_file():
            raise InputError(f"inputs {path}: no such file")
        try:
            self._file = h5py.File(path, "r")
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
            raise InputError(f"inputs {path}: truncated or damaged; make it again") from error

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
            maps = read_rows(self._file["maps"], positions.tolist())
        except DAMAGE as error:
            raise InputError(f"inputs {self.path}: maps are damaged; make it again") from error
        # Not by numpy, which takes five times as long from float16 to float32.
        return torch.from_numpy(maps).float().view(len(maps), *self.shape)
