"""Every image of a dataset at its native size through a network, and what it gives into a file.

Images are read a window at a time, so that memory does not grow with their number, and one window
is written while the network sees the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor

from ..command_line.cli import log, progress
from ..command_line.memory import memory_limit, naming
from ..data.images import UnreadableImage
from ..data.index import Index
from ..data.loading import groups_of_equal, native_size_windows, to_tensor
from ..errors import InputError
from ..options import option
from .base import Backbone

WINDOW = 64  # images at most
# A patch of a transformer takes as much memory however few pixels it has.
_PATCH_PIXELS = 128
# What a small transformer takes for each pixel that it sees, beside Python, torch and the images.
_PIXEL_BYTES = 256
_OTHER_BYTES = 13 * 10**8
T = TypeVar("T")
R = TypeVar("R")


class Seen(Protocol):
    """What an error says of an image."""

    @property
    def image_id(self) -> int:
        """In the index."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels as it is seen."""

    @property
    def name(self) -> str:
        """What it is called."""


S = TypeVar("S", bound=Seen)


@dataclass(frozen=True)
class NativeImage:
    """An image as the network reads it.

    Attributes:
        image_id: in the index.
        size: (height, width) in pixels as it is seen, shrunk to the index's max_side.
        pixels: (1, 3, H', W') float32, prepared.
        name: of its file.
    """

    image_id: int
    size: tuple[int, int]
    pixels: Tensor
    name: str


class NativeImages:
    """Images of an index in windows, those that cannot be read left out up to a number.

    Attributes:
        skipped: [{"image_id", "reason"}] of what was left out so far.
    """

    def __init__(
        self, index: Index, images: list[dict[str, Any]], backbone: Backbone, max_skipped: int
    ) -> None:
        self.index, self.images = index, images
        self.backbone, self.max_skipped = backbone, max_skipped
        self.skipped: list[dict[str, Any]] = []

    def windows(self, window: int) -> Iterator[list[NativeImage]]:
        """Windows of at most this many images, in the order of the index.

        Raises:
            InputError: more images than `max_skipped` cannot be read.
        """
        side = self.index.max_side
        for read in native_size_windows(self.index, self.images, window, side):
            failed = [(image, e) for image, e in read if isinstance(e, UnreadableImage)]
            self.skipped += [{"image_id": image["id"], "reason": e.reason} for image, e in failed]
            if failed:
                require_few(len(self.skipped), self.max_skipped, self.index, failed[-1][1])
            for _, error in failed:
                log.warning("skipped: %s", error)
            yield [
                NativeImage(
                    image["id"], pixels.shape[:2], self._prepared(pixels), image["file_name"]
                )
                for image, pixels in read
                if isinstance(pixels, np.ndarray)
            ]

    def _prepared(self, pixels: np.ndarray) -> Tensor:
        return self.backbone.prepare(to_tensor(pixels)[None])


def require_few(count: int, max_skipped: int, index: Index, last: object) -> None:
    """Check that no more images of an index were left out than `max_skipped`.

    Args:
        count: of images that were.
        last: of them, and why.

    Raises:
        InputError: there were more.
    """
    if count > max_skipped:
        raise InputError(
            f"{index.path}: {count} images cannot be read (last: {last}); mend them, index again,"
            " or raise --max-skipped"
        )


def in_groups(
    images: list[S],
    key: Callable[[S], tuple[int, ...]],
    batch: Callable[[list[S]], Iterable[R]],
    size: Callable[[tuple[int, ...]], int],
) -> list[R]:
    """What `batch` gives of images with an equal key, in the order given.

    Args:
        batch: a list of images to one result for each.
        size: how many images of a key at most at once.

    Raises:
        OutOfMemory: for a batch memory does not suffice; the message names it.
    """
    found: dict[int, R] = {}
    for group in groups_of_equal(range(len(images)), lambda i: key(images[i]), size):
        some = [images[i] for i in group]
        with naming(partial(described, some)):
            found |= zip(group, batch(some), strict=True)
    return [found[position] for position in range(len(images))]


def described(images: list[S]) -> str:
    """Images of a batch in a few words: the first, its size as it is seen, how many others."""
    height, width = images[0].size
    others = f" and {len(images) - 1} of its size" if len(images) > 1 else ""
    return f"{images[0].name} ({width}×{height} pixels){others}"


def images_at_once(patches: int, stride: int, most: int, batch_pixels: int) -> int:
    """How many images of so many patches a network sees at once, at least one.

    Args:
        stride: side of a patch in pixels of the network's input.
        most: images, however small.
        batch_pixels: of all of them together, or as many as the memory allows; patches of fewer
            than 128 pixels count as so many.
    """
    pixels = patches * max(stride**2, _PATCH_PIXELS)
    fit = max(0, memory_limit() - _OTHER_BYTES) // _PIXEL_BYTES
    return max(1, min(most, min(batch_pixels, fit) // pixels))


@dataclass(frozen=True)
class StoredOptions:
    """How what f makes of images at native size is stored, and how many it sees at once."""

    dtype: str = option("float16", "of the stored values", choices=("float16", "float32"))
    batch_size: int = option(32, "seen by f at once, at most", unit="images", min=1)
    batch_pixels: int = option(2**23, "seen by f at once, at most", unit="px", min=1)
    seed: int = option(0, "of --weights random", min=0)

    def images_at_once(self, backbone: Backbone, rows: int, columns: int) -> int:
        """How many images of a patch grid f sees at once."""
        return images_at_once(rows * columns, backbone.stride, self.batch_size, self.batch_pixels)


def while_writing(
    windows: Iterable[list[T]],
    images: int,
    compute: Callable[[list[T]], list[R]],
    write: Callable[[R], None],
) -> None:
    """Write what `compute` makes of each window, in order, in a thread beside the next window.

    Args:
        windows: of `images` images in all; their progress is logged.
    """

    def write_all(results: list[R]) -> None:
        for result in results:
            write(result)

    with ThreadPoolExecutor(max_workers=1) as thread:
        writing = thread.submit(write_all, [])
        for window in progress(windows, images, "images", len):
            results = compute(window)
            writing.result()
            writing = thread.submit(write_all, results)
        writing.result()
