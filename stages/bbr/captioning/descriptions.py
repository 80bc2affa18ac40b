"""Captions of images on disk: the phrases of a described index, and the boxes found for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.index import Index
from ..data.phrases import index_phrases
from ..evaluation.phrase_metrics import Unit, require_phrases
from ..storage.boxes_json import Record, read_boxes


@dataclass(frozen=True)
class Located:
    """A caption of an image, and where it was found.

    Attributes:
        unit: (image id, caption id), by which heatmaps and boxes name it.
        caption: in words.
        boxes: records of boxes, best first; there may be none.
        regions: [x, y, width, height] in pixels of each region that was described so; the
            heatmap of the caption need not lie on any of them.
    """

    unit: Unit
    caption: str
    boxes: list[Record]
    regions: list[list[float]]


def located_captions(dataset: Index, boxes: Path) -> Iterator[tuple[dict[str, Any], list[Located]]]:
    """Every image of a described index with its captions, in their order.

    Raises:
        InputError: the boxes are not of these captions.
    """
    found: dict[int, list[Located]] = {image["id"]: [] for image in dataset.images}
    by_unit: dict[Unit, Located] = {}
    regions = {image["id"]: image.get("regions", []) for image in dataset.images}
    for phrase in index_phrases(dataset):
        unit = (phrase.image_id, phrase.phrase_id)
        # Ids of captions count from 1 in each image, and so do its regions.
        own = regions[phrase.image_id][phrase.phrase_id - 1 : phrase.phrase_id]
        by_unit[unit] = Located(unit, phrase.texts[0], [], own[0] if own else [])
        found[phrase.image_id].append(by_unit[unit])
    records = read_boxes(boxes)
    require_phrases(records, by_unit, boxes)
    for record in records:
        by_unit[record["image_id"], record["phrase_id"]].boxes.append(record)
    for image in dataset.images:
        yield image, found[image["id"]]
