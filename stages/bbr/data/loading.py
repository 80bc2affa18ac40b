"""Images of an index as uint8 tensors: whole sets of one size, or read a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..command_line.cli import thread_count
from .augmentation import crop_native
from .images import UnreadableImage, read_indexed, shrunk, shrunk_size
from .index import Index

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
# Of images in memory at native size; as float32, prepared for a network, each takes 12 bytes.
_WINDOW_PIXELS = 2**24
_CACHE_BYTES = 4 * 2**30


def to_tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) uint8."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)


def resize(pixels: np.ndarray, size: int, resizing: str = "bicubic") -> np.ndarray:
    """(H, W, 3) uint8 to (size, size, 3) uint8, `bicubic` or `bilinear`, with antialiasing."""
    if pixels.shape[:2] == (size, size):
        return pixels
    kernel = Image.Resampling[resizing.upper()]
    return np.array(Image.fromarray(pixels).resize((size, size), kernel))


class SquareImages:
    """Every image of an index, resized to size × size, by batches of positions.

    Small sets are kept in memory once read; of larger ones only the batch asked for is.
    """

    def __init__(self, index: Index, size: int, resizing: str = "bicubic") -> None:
        self.index = index
        self.size = size
        self.resizing = resizing
        self._keep = 3 * size * size * len(index.images) <= _CACHE_BYTES
        self._coming: dict[int, Future[Tensor]] = {}

    def __len__(self) -> int:
        return len(self.index.images)

    def prefetch(self, positions: Tensor | Iterable[int]) -> None:
        """Begin to read images that the next batch will have."""
        positions = torch.as_tensor(positions, dtype=torch.long)
        for position in positions[~self._known[positions]].tolist():
            if position not in self._coming:
                self._coming[position] = self._pool.submit(self._read, position)

    def batch(self, positions: Tensor | Iterable[int]) -> Tensor:
        """Images at these positions of `index.images`: (B, 3, size, size) uint8."""
        positions = torch.as_tensor(positions, dtype=torch.long)
        self.prefetch(positions)
        wanted = positions.tolist()
        fresh = {p: self._coming.pop(p).result() for p in {*wanted} if p in self._coming}
        if not self._keep:
            return torch.stack([fresh[position] for position in wanted])
        for position, image in fresh.items():
            self._kept[position] = image
            self._known[position] = True
        return self._kept[positions]

    def native_crops(self, positions: Tensor | Iterable[int], generator: torch.Generator) -> Tensor:
        """Crops of images at these positions as they lie on disk, where they are read anew each
        time: (B, 3, size, size) uint8; see `crop_native`."""
        wanted = torch.as_tensor(positions, dtype=torch.long).tolist()
        images = self._pool.map(self._read_native, wanted)
        return torch.stack([crop_native(image, self.size, generator) for image in images])

    # These are made on first use, in the process that uses them: tensors that are sent to several
    # processes are shared by them, and what one has read another has not.
    @cached_property
    def _known(self) -> Tensor:
        return torch.zeros(len(self), dtype=torch.bool)

    @cached_property
    def _kept(self) -> Tensor:
        return torch.empty(len(self), 3, self.size, self.size, dtype=torch.uint8)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=thread_count())

    def _read(self, position: int) -> Tensor:
        return to_tensor(resize(self._read_native(position), self.size, self.resizing))

    def _read_native(self, position: int) -> np.ndarray:
        record = self.index.images[position]
        return read_indexed(self.index.image_path(record), record)


def native_size_windows(
    index: Index, images: list[dict[str, Any]], window: int, max_side: int | None = None
) -> Iterator[list[tuple[dict[str, Any], np.ndarray | UnreadableImage]]]:
    """Read images at native size, a window at a time, the next window while one is in use.

    A window has at most `window` images, fewer where they have more than `_WINDOW_PIXELS`.

    Args:
        max_side: larger images are shrunk to it as they are read.

    Yields lists of (image record, (H, W, 3) uint8 pixels or the error that reading raised).
    """

    def read(image: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray | UnreadableImage]:
        try:
            return image, shrunk(read_indexed(index.image_path(image), image), max_side)
        except UnreadableImage as error:
            return image, error

    with ThreadPoolExecutor(max_workers=thread_count()) as pool:
        waiting = None
        for records in _windows(images, window, max_side):
            following = [pool.submit(read, record) for record in records]
            if waiting is not None:
                yield [future.result() for future in waiting]
            waiting = following
        if waiting is not None:
            yield [future.result() for future in waiting]


def _windows(
    images: list[dict[str, Any]], window: int, max_side: int | None
) -> Iterator[list[dict[str, Any]]]:
    """Consecutive images, as many as fit into memory; at least one."""
    some: list[dict[str, Any]] = []
    pixels = 0
    for image in images:
        height, width = shrunk_size(image.get("height", 0), image.get("width", 0), max_side)
        if some and (len(some) == window or pixels + height * width > _WINDOW_PIXELS):
            yield some
            some, pixels = [], 0
        some.append(image)
        pixels += height * width
    if some:
        yield some


def groups_of_equal(
    items: Iterable[T], key: Callable[[T], K], size: int | Callable[[K], int]
) -> Iterator[list[T]]:
    """Items with equal key, in batches of at most `size`, in order of first appearance.

    Args:
        size: of every batch, or what it is for items of a key.
    """
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    for shared, group in groups.items():
        yield from chunks(group, size(shared) if callable(size) else size)


def chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Consecutive runs of `size` items; the last may be shorter."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
