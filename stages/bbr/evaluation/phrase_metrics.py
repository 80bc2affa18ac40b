"""Phrase grounding's two metrics, phrase by phrase (section 5, "Metrics").

A target box below a share of its image's area (5 % by default) is left out, and so is a phrase with
no other target. WWbL's code, by which the published numbers were made, looks at the first box alone
and then takes all of them. A phrase is a miss where a method has nothing for it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.index import Index
from ..data.phrases import Phrase, index_phrases
from ..errors import InputError
from ..storage.boxes_json import Record, box_xyxy
from .corloc import aligned_iou, union_box

if TYPE_CHECKING:
    from ..grounding.heatmaps_h5 import HeatmapFile

MIN_AREA = 0.05
COUNTED = ("any_box", "first_box")
TARGETS = ("boxes", "union")

Unit = tuple[int, int]  # image id and phrase id


@dataclass(frozen=True)
class Target:
    """A phrase that is evaluated.

    Attributes:
        phrase: with the boxes that count.
        image_size: (height, width) in pixels.
    """

    phrase: Phrase
    image_size: tuple[int, int]

    @property
    def unit(self) -> Unit:
        """What outcomes are known by."""
        return self.phrase.image_id, self.phrase.phrase_id

    @property
    def share(self) -> float:
        """The area of the box around all targets, as a share of the image's."""
        x1, y1, x2, y2 = union_box(self.phrase.boxes)
        return float((x2 - x1) * (y2 - y1) / np.prod(self.image_size))


def evaluated_targets(
    index: Index, min_area: float = MIN_AREA, counted: str = "any_box"
) -> list[Target]:
    """The phrases of an index that count, with the boxes that count.

    Args:
        min_area: of a box, as a share of its image's.
        counted: `any_box`: boxes of that area or more, and phrases that have one; `first_box`: all
            boxes of phrases whose first is above it (WWbL's code).

    Raises:
        InputError: an image has no size, or no phrase is left.
    """
    sizes = {image["id"]: index.image_size(image) for image in index.images}
    targets = []
    for phrase in index_phrases(index):
        size = sizes[phrase.image_id]
        areas = (phrase.boxes[:, 2:] - phrase.boxes[:, :2]).prod(1)
        counts = areas >= min_area * np.prod(size)
        if counted == "first_box":
            counts = np.tile(areas[:1] > min_area * np.prod(size), len(areas))
        if counts.any():
            targets.append(Target(replace(phrase, boxes=phrase.boxes[counts]), size))
    if not targets:
        raise InputError(
            f"{index.path}: no phrase has a box of {min_area:.0%} of its image's area or more: "
            "there is nothing to score against"
        )
    return targets


def pointing_game(
    targets: list[Target], points: Mapping[Unit, tuple[float, float]], within: str = "boxes"
) -> list[int]:
    """1 where a phrase's point (x, y), in pixels, lies in its target, else 0.

    Args:
        within: `boxes`: one of them, whose left and top edges belong to it and whose right and
            bottom edges do not; `union`: the box around them, in which WWbL's code looks for the
            number of the point's pixel, far edges included.
    """
    hits = {"boxes": _hits, "union": _hits_union}[within]
    return [int(hits(target.phrase.boxes, points.get(target.unit))) for target in targets]


def _hits(boxes: np.ndarray, point: tuple[float, float] | None) -> bool:
    if point is None:
        return False
    return bool(((boxes[:, :2] <= point) & (point < boxes[:, 2:])).all(1).any())


def _hits_union(boxes: np.ndarray, point: tuple[float, float] | None) -> bool:
    if point is None:
        return False
    around, pixel = union_box(boxes), np.floor(point)
    return bool(((around[:2] <= pixel) & (pixel <= around[2:])).all())


def union_ious(targets: list[Target], unions: Mapping[Unit, np.ndarray]) -> np.ndarray:
    """(n,) IoU of the box around all targets with a phrase's predicted union; 0 without one.

    A phrase is found where it is at least `corloc.IOU_THRESHOLD`.
    """
    nothing = np.zeros(4)
    predicted = np.array([unions.get(target.unit, nothing) for target in targets])
    return aligned_iou(predicted, np.array([union_box(t.phrase.boxes) for t in targets]))


def heatmap_points(targets: list[Target], heatmaps: HeatmapFile) -> dict[Unit, tuple[float, float]]:
    """The peak of each map, as `heatmaps_h5.find_peak` saw it in single precision, in pixels.

    Raises:
        InputError: targets have no heatmap, which is then of another index.
    """
    sizes = {target.unit: target.image_size for target in targets}
    units = zip(heatmaps.image_id.tolist(), heatmaps.phrase_id.tolist(), strict=True)
    points = {}
    for unit, (x, y) in zip(units, heatmaps.peak.tolist(), strict=True):
        if unit in sizes:
            height, width = sizes[unit]
            points[unit] = (x * width, y * height)
    missing = sizes.keys() - points.keys()
    if missing:
        raise InputError(
            f"heatmaps {heatmaps.path}: {len(missing)} of {len(sizes)} phrases have no map (first: "
            f"image {min(missing)[0]}, phrase {min(missing)[1]}); make them from the same index"
        )
    return points


def require_phrases(records: Iterable[Record], units: Container[Unit], source: Path | str) -> None:
    """Check that boxes belong to phrases of an index.

    Raises:
        InputError: a box does not say which phrase it is of, or its phrase is not among `units`.
    """
    for record in records:
        if "phrase_id" not in record:
            raise InputError(
                f"{source}: a box of image {record['image_id']} has no phrase_id; heatmap_boxes.py"
                " makes boxes of phrases"
            )
        if (record["image_id"], record["phrase_id"]) not in units:
            raise InputError(
                f"{source}: the index has no phrase {record['phrase_id']} of image "
                f"{record['image_id']}; use the index that the boxes were made from"
            )


def record_unions(records: Iterable[Record]) -> dict[Unit, np.ndarray]:
    """The box around all predicted boxes of each phrase, from records that have their phrase."""
    grouped: dict[Unit, list[list[float]]] = {}
    for record in records:
        unit = record["image_id"], record["phrase_id"]
        grouped.setdefault(unit, []).append(box_xyxy(record))
    return {unit: union_box(np.array(boxes)) for unit, boxes in grouped.items()}
