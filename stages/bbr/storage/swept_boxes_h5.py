"""Boxes of the same images by many settings, `swept_boxes.h5`.

attributes  schema "bbr-swept-boxes/1", settings (JSON: of each, by name, what differs), labels
            (JSON), skipped (JSON), provenance (JSON), complete (true, written last)
/image_id   (n,)       int64
/boxes      (n, s, 4)  float32  xyxy in pixels of the image
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .hdf5 import CheckedFile, GrowingFile, OutputFile, create_complete

SCHEMA = "bbr-swept-boxes/1"


class SweptBoxesWriter(GrowingFile):
    """Appends images to an open file; it is complete once `create_swept_boxes` has ended."""

    def __init__(self, file: OutputFile, settings: int) -> None:
        super().__init__(file)
        self.create("image_id", np.int64, (), rows=1024)
        self.create("boxes", np.float32, (settings, 4), rows=64)

    def append(self, image_id: int, boxes: np.ndarray) -> None:
        """Add an image and its boxes (s, 4).

        Raises:
            OSError: a write failed.
        """
        self.append_rows("image_id", np.array([image_id]))
        self.append_rows("boxes", boxes[None])


@contextlib.contextmanager
def create_swept_boxes(
    path: Path | str,
    settings: list[dict[str, Any]],
    labels: dict[str, Any],
    provenance: dict[str, Any],
) -> Iterator[SweptBoxesWriter]:
    """Write such a file; it appears, complete, when the block ends without an exception."""
    about = {"settings": json.dumps(settings), "labels": json.dumps(labels)}
    with (
        create_complete(path, SCHEMA, provenance, **about) as file,
        SweptBoxesWriter(file, len(settings)) as writer,
    ):
        yield writer


class SweptBoxes(CheckedFile):
    """A checked file, open for reading; use as a context manager.

    Attributes:
        image_id: (n,) int64.
        boxes: (n, s, 4) float32.
        settings: s dictionaries.
        labels: what the numbers are.

    Raises:
        InputError: not such a file, not complete, or its parts do not fit together.
    """

    role, schema = "boxes", SCHEMA

    def _check(self, attributes: dict[str, Any]) -> None:
        self.settings: list[dict[str, Any]] = json.loads(attributes["settings"])
        self.labels: dict[str, Any] = json.loads(attributes["labels"])
        self.image_id, self.boxes = self._read("image_id"), self._read("boxes")
        shape = (len(set(self.image_id.tolist())), len(self.settings), 4)
        if self.boxes.shape != shape or self.image_id.shape != shape[:1]:
            raise self._error("image_id, boxes and settings do not fit together; make it again")
