"""Images of an index with what was found in them, as they stand in a described index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.images import UnreadableImage, read_indexed
from ..data.index import Index, save_index
from ..errors import InputError
from .describing import Describer, Description

_DECIMALS = 2


@dataclass
class DescribedImages:
    """Entries of images with their `phrases` and `regions`, and those that could not be read.

    Attributes:
        skipped: [{"image_id", "reason"}].
    """

    images: list[dict[str, Any]]
    skipped: list[dict[str, Any]]

    def add(self, others: DescribedImages, max_skipped: int, index: Path) -> None:
        """Take others in, as far as no more than `max_skipped` could not be read.

        Raises:
            InputError: there are more; `index` lists them all.
        """
        self.images += others.images
        self.skipped += others.skipped
        if len(self.skipped) > max_skipped:
            last = self.skipped[-1]
            raise InputError(
                f"{index}: {len(self.skipped)} images cannot be read (last: {last['image_id']},"
                f" {last['reason']}); mend them, index again, or raise --max-skipped"
            )

    def save(self, output: Path, dataset: Index, record: dict[str, Any]) -> None:
        """Write them as an index of images of `dataset`, with their provenance."""
        root = dataset.image_root_from(output.parent)
        info = {"image_root": root, "provenance": record, "skipped": self.skipped}
        save_index(Index(self.images, [], [], info, output))


def describe_images(
    group: list[dict[str, Any]], dataset: Index, describer: Describer
) -> DescribedImages:
    """The described images of a group of an index, and those that could not be read.

    The crops of all images of a group share batches.
    """
    readable: list[tuple[dict[str, Any], np.ndarray]] = []
    skipped = []
    for image in group:
        try:
            readable.append((image, read_indexed(dataset.image_path(image), image)))
        except UnreadableImage as error:
            skipped.append({"image_id": image["id"], "reason": error.reason})
    found = describer.describe([pixels for _, pixels in readable])
    images = [
        _described(image, pixels, own) for (image, pixels), own in zip(readable, found, strict=True)
    ]
    return DescribedImages(images, skipped)


def _described(
    image: dict[str, Any], pixels: np.ndarray, found: list[Description]
) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    return {
        "id": image["id"],
        "file_name": image["file_name"],
        "width": width,
        "height": height,
        "phrases": [description.caption for description in found],
        "regions": [_xywh(description.regions) for description in found],
    }


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    return np.hstack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2])).round(_DECIMALS).tolist()
