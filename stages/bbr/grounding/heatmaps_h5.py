"""Heatmaps of phrases on disk: one map for each phrase of each image, in `heatmaps.h5`.

Attributes: schema, provenance, complete; datasets image_id (n,), phrase_id (n,), maps (n, H, W)
float16 in [0, 1], chunked by map, and peak (n, 2) float64, where each map was highest before it was
stored in half precision, in which values near 1 are one: x and y in fractions of the image. Where
several sentences share a phrase id, the row is the mean of their maps. Reading needs no torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..storage.hdf5 import CheckedFile, GrowingFile, OutputFile, create_complete, open_unlocked

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = "bbr-heatmaps/2"
_ID_ROWS = 1024
# Half a step of float16 just below 1, so that rounding errors of an average pass.
_SLACK = 2.0**-12


def find_peak(heatmap: Tensor | np.ndarray, image_size: tuple[int, int]) -> tuple[float, float]:
    """Where a map, resized to its image bilinearly, is highest.

    The first in row-major order on ties, so that a constant map points to the top left corner.

    Args:
        heatmap: (H, W) in single precision, on any device.
        image_size: (height, width) in pixels.

    Returns:
        x and y of the centre of that pixel of the image, in fractions of the image.
    """
    import cv2  # here, since reading does without it

    height, width = image_size
    values = np.asarray(_as_array(heatmap), dtype=np.float32)
    resized = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    y, x = divmod(int(resized.argmax()), width)
    return (x + 0.5) / width, (y + 0.5) / height


def _as_array(heatmap: Tensor | np.ndarray) -> np.ndarray:
    return heatmap if isinstance(heatmap, np.ndarray) else heatmap.detach().float().cpu().numpy()


class HeatmapWriter(GrowingFile):
    """Appends maps to an open file; `complete` is set by `create_heatmaps` at the very end."""

    def __init__(self, file: OutputFile, size: tuple[int, int]) -> None:
        super().__init__(file)
        self._size = size
        self._seen: set[tuple[int, int]] = set()
        self.create("image_id", np.int64, (), rows=_ID_ROWS)
        self.create("phrase_id", np.int64, (), rows=_ID_ROWS)
        self.create("peak", np.float64, (2,), rows=_ID_ROWS)
        self.create("maps", np.float16, size, rows=1)

    def append(
        self,
        image_id: int,
        phrase_id: int,
        heatmap: Tensor | np.ndarray,
        peak: tuple[float, float] | None = None,
    ) -> None:
        """Add the map (H, W), in [0, 1] and on any device, of a phrase of an image.

        Args:
            peak: of `find_peak`; where it is left out, that of the map at its own size.

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
        values = _as_array(heatmap)
        if not ((values >= -_SLACK) & (values <= 1 + _SLACK)).all():  # false for NaN
            raise InputError(f"{what}: holds values outside [0, 1] or NaN; check the weights")
        self._seen.add((image_id, phrase_id))
        row = {
            "image_id": image_id,
            "phrase_id": phrase_id,
            "peak": find_peak(values, self._size) if peak is None else peak,
            "maps": values.clip(0, 1),
        }
        for name, value in row.items():
            self.append_rows(name, np.array([value]))


@contextlib.contextmanager
def create_heatmaps(
    path: Path | str, *, size: tuple[int, int], provenance: dict[str, Any]
) -> Iterator[HeatmapWriter]:
    """Write a heatmaps file; it appears, complete, when the block ends without an exception.

    Args:
        size: (H, W) of every map.
    """
    with (
        create_complete(path, SCHEMA, provenance) as file,
        HeatmapWriter(file, size) as writer,
    ):
        yield writer


class HeatmapFile(CheckedFile):
    """A checked heatmaps file, open for reading; use as a context manager.

    Attributes:
        image_id: (n,) int64.
        phrase_id: (n,) int64; the pair of both is unique.
        peak: (n, 2) float64, x and y in fractions of the image, where each map was highest.
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
        self.peak: np.ndarray = self._file["peak"][:]
        maps = self._file["maps"]
        pairs = set(zip(self.image_id.tolist(), self.phrase_id.tolist(), strict=True))
        if maps.ndim != 3 or not len(maps) == len(self.image_id) == len(pairs) == len(self.peak):
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
        with open_unlocked(path) as file:
            return file.attrs.get("schema") == SCHEMA
    except OSError:
        return False
