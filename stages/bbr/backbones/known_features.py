"""Features of images that have not changed since the output was last written.

One photograph added to ten thousand is then one through the network. A row is taken over where the
file's name, checksum and size are the same, and where all else that it depends on is: the network,
the options, the libraries and the code. Rows that were computed beside other images may differ from
those of a fresh run by rounding, since batches of other sizes take other kernels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..command_line.cli import log
from ..errors import InputError
from ..options import option
from ..storage.atomic import sha256
from .extraction import Found
from .features_h5 import FeatureFile


@dataclass(frozen=True)
class ReuseOptions:
    """Whether an output that is there already is made use of."""

    reuse: Path | None = option(
        None,
        "take what has not changed from the output that is there already, if it was made by the"
        " code that this file records (results/code/extract_features.json)",
    )


def recipe(record: dict[str, Any], max_side: int | None, code: Path) -> str:
    """SHA-256 of all that a row depends on, but its image.

    Args:
        record: the provenance; its index and shard do not count.
        max_side: of the index.
        code: file that changes where the code does.
    """
    read = {role: digest for role, digest in record["inputs"].items() if role != "index"}
    parameters = {name: v for name, v in record["parameters"].items() if name != "shard"}
    parts = {**record, "inputs": read, "parameters": parameters, "max_side": max_side}
    return hashlib.sha256(json.dumps([parts, sha256(code)], sort_keys=True).encode()).hexdigest()


def content(image: dict[str, Any]) -> str:
    """SHA-256 of an image's name, checksum and size; "" where the index has no checksum of it."""
    if "crc32" not in image:
        return ""
    parts = [image.get(key) for key in ("file_name", "crc32", "width", "height")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class KnownFeatures(AbstractContextManager["KnownFeatures"]):
    """Rows of a features file that are still right; none where there is no such file.

    A context manager, which closes it.
    """

    def __init__(self, path: Path, made_by: str) -> None:
        self._file: FeatureFile | None = None
        self._position: dict[str, int] = {}
        if not made_by or not path.is_file():
            return
        try:
            self._file = FeatureFile(path)
        except InputError as error:
            log.warning("all features are computed anew: %s", error)
            return
        if self._file.recipe == made_by:
            self._position = {name: i for i, name in enumerate(self._file.content) if name}

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.__exit__()

    def split(self, images: list[dict[str, Any]]) -> tuple[dict[int, int], list[dict[str, Any]]]:
        """The known ones of these images, {id: position in the file}, and a list of the others."""
        if self._file is None:
            return {}, images
        known = {
            image["id"]: self._position[name]
            for image in images
            if (name := content(image)) in self._position
        }
        log.info("%d of %d images are as they were", len(known), len(images))
        return known, [image for image in images if image["id"] not in known]

    def row(self, image_id: int, position: int) -> Found:
        """A known row, as that of an image with this id.

        Raises:
            InputError: the file is damaged there.
        """
        assert self._file is not None, "what is known is in a file"
        try:
            (maps,) = self._file.batches(1, among=range(position, position + 1))
        except InputError as error:
            raise InputError(f"{error}: delete it, and all of it is") from error
        height, width = maps.sizes[0].tolist()
        attention = None if maps.cls_attention is None else maps.cls_attention[0]
        mask = None if maps.image_masks is None else torch.from_numpy(maps.image_masks[0])
        return Found(image_id, (height, width), maps.grid, maps.key[0], attention, mask)


class InOrder:
    """Writes rows in the order of the images: known ones between those that come from the network.

    Args:
        images: ids, in the order of the index; what comes from the network is in that order too.
        known: see `KnownFeatures.split`.
        row: see `KnownFeatures.row`.
        write: a row into the file.
    """

    def __init__(
        self,
        images: list[int],
        known: dict[int, int],
        row: Callable[[int, int], Found],
        write: Callable[[Found], None],
    ) -> None:
        self._waiting = iter(images)
        self._known, self._row, self._write = known, row, write

    def write(self, found: Found) -> None:
        """Write a row from the network, and before it those that are known of images before it."""
        self._write_known(found.image_id)
        self._write(found)

    def finish(self) -> None:
        """Write those that are left."""
        self._write_known(None)

    def _write_known(self, before: int | None) -> None:
        for image_id in self._waiting:
            if image_id == before:
                return
            if image_id in self._known:
                self._write(self._row(image_id, self._known[image_id]))
