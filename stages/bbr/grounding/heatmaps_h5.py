"""Heatmaps of phrases on disk: one map for each phrase of each image, in `heatmaps.h5`.

Attributes: schema, provenance, complete; datasets image_id (n,), phrase_id (n,) and maps (n, H, W)
float16 in [0, 1], chunked by map. Where several sentences share a phrase id, the row is the mean of
their maps. Reading needs no torch.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ..errors import InputError
from ..storage.atomic import atomic_path
from ..storage.hdf5 import CheckedFile, OutputFile, create_hdf5

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = "bbr-heatmaps/1"
_ID_ROWS = 1024
# Half a step of float16 just below 1, so that rounding errors of an average pass.
_SLACK = 2.0**-12


class HeatmapWriter:
    """Appends maps to an open file; `complete` is set by `create_heatmaps` at the very end."""

    def __init__(self, file: OutputFile, size: tuple[int, int]) -> None:
        self._file, self._size = file, size
        self._seen: set[tuple[int, int]] = set()
        # Kept open: a dataset that is closed writes out its last, half-filled chunk.
        self._datasets = {
            name: file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape),
                                      chunks=(rows, *shape), fletcher32=True)
            for name, dtype, shape, rows in (
                ("image_id", np.int64, (), _ID_ROWS),
                ("phrase_id", np.int64, (), _ID_ROWS),
                ("maps", np.float16, size, 1),
            )
        }  # fmt: skip

    def append(self, image_id: int, phrase_id: int, heatmap: Tensor | np.ndarray) -> None:
        """Add the map (H, W), in [0, 1] and on any device, of a phrase of an image.

        Raises:
            InputError: a value is not finite or not in [0, 1], or the phrase is there already.
            ValueError: the map is of another size than the file's.
            OSError: a write failed.
        """
        what = f"heatmap of image {image_id}, phrase {phrase_id}"
        if tuple(heatmap.shape) != self._size:
            raise ValueError(f"{what}: size {tuple(heatmap.shape)}, not {self._size}")
        if (image_id, phrase_id) in self._seen:
            raise InputError(f"{what}: comes twice; each phrase has one map")
        values = heatmap
        if not isinstance(heatmap, np.ndarray):
            values = heatmap.detach().float().cpu().numpy()
        if not ((values >= -_SLACK) & (values <= 1 + _SLACK)).all():  # false for NaN
            raise InputError(f"{what}: holds values outside [0, 1] or NaN; check the weights")
        self._seen.add((image_id, phrase_id))
        row = {"image_id": image_id, "phrase_id": phrase_id, "maps": values.clip(0, 1)}
        for name, value in row.items():
            dataset = self._datasets[name]
            dataset.resize(len(self._seen), axis=0)
            dataset[-1] = value
        self._file.check()


@contextlib.contextmanager
def create_heatmaps(
    path: Path | str, *, size: tuple[int, int], provenance: dict[str, Any]
) -> Iterator[HeatmapWriter]:
    """Write a heatmaps file; it appears, complete, when the block ends without an exception.

    Args:
        size: (H, W) of every map.
    """
    with atomic_path(path) as temporary, create_hdf5(temporary) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
        yield HeatmapWriter(file, size)
        file.attrs["complete"] = True


class HeatmapFile(CheckedFile):
    """A checked heatmaps file, open for reading; use as a context manager.

    Attributes:
        image_id: (n,) int64.
        phrase_id: (n,) int64; the pair of both is unique.
        size: (H, W) of every map.
        provenance: JSON.

    Raises:
        InputError: not a heatmaps file, not complete, or its parts do not fit together.
    """

    role, schema = "heatmaps", SCHEMA

    def __len__(self) -> int:
        return len(self.image_id)

    def _check(self, attributes: dict[str, Any]) -> None:
        self.image_id: np.ndarray = self._file["image_id"][:]
        self.phrase_id: np.ndarray = self._file["phrase_id"][:]
        maps = self._file["maps"]
        pairs = set(zip(self.image_id.tolist(), self.phrase_id.tolist(), strict=True))
        if maps.ndim != 3 or not len(maps) == len(self.image_id) == len(pairs):
            raise self._error(
                "ids and maps do not fit together, or a phrase is there twice; make it again"
            )
        self.size: tuple[int, int] = maps.shape[1:]
        self.provenance = str(attributes["provenance"])

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every map in the file's order, `size` at a time.

        Yields:
            positions (B,), which index image_id and phrase_id, and maps (B, H, W) float32.

        Raises:
            InputError: a chunk's checksum does not match.
        """
        for start in range(0, len(self), size):
            positions = np.arange(start, min(start + size, len(self)))
            yield positions, self.read(positions)

    def read(self, positions: np.ndarray) -> np.ndarray:
        """The maps at these positions, in their order, repeats allowed: (B, H, W) float32.

        Raises:
            InputError: a chunk's checksum does not match.
        """
        return self._read_rows("maps", positions.tolist()).astype(np.float32)


def is_heatmaps(path: Path | str) -> bool:
    """Whether a file says that it holds heatmaps; one that cannot be read does not."""
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("schema") == SCHEMA
    except OSError:
        return False
