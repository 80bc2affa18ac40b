"""What each task makes of each image or phrase, and the scores of that.

Outcomes are lists of one length by name: ids, whether a unit is `correct`, and what that hangs on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data.index import Index
from ..data.phrases import index_phrases
from ..errors import InputError
from ..storage.boxes_json import (
    Record,
    box_xyxy,
    boxes_by_image,
    read_boxes,
    require_known_images,
    top_boxes,
)
from ..storage.rle import decode_mask, is_rle
from .average_precision import average_precision
from .corloc import IOU_THRESHOLD, best_ious
from .mask_metrics import best_mask_iou, mean_saliency, saliency
from .matches import caption_targets, through_captions
from .phrase_metrics import (
    Target,
    Unit,
    heatmap_points,
    pointing_game,
    record_unions,
    require_phrases,
    union_ious,
)
from .statistics import bootstrap_interval

Outcomes = dict[str, list[Any]]
Matches = Mapping[Unit, Unit]


def corloc_outcomes(index: Index, boxes: Path) -> tuple[Outcomes, dict[str, Any]]:
    """Whether the top box of each image has IoU 0.5 or more with an object.

    Raises:
        InputError: there is no ground truth, or boxes are of other images.
    """
    _require_ground_truth(index)
    truth = {image["id"]: index.boxes_xyxy(image["id"]) for image in index.images}
    records = read_boxes(boxes)
    require_known_images(records, truth, boxes)
    ious = best_ious({i: box_xyxy(record) for i, record in top_boxes(records).items()}, truth)
    return {"image_id": list(truth), **_by_iou(ious)}, {}


def ap_outcomes(index: Index, boxes: Path, kind: str = "bbox") -> tuple[Outcomes, dict[str, Any]]:
    """Whether any object of an image was found, and AP50 of all boxes, whatever their class.

    `ap`, `ap75` and `ar100` are what `AveragePrecision` has by these names.

    Args:
        kind: bbox, or segm for masks.

    Raises:
        InputError: there is no ground truth, or boxes are of other images or have no masks.
    """
    _require_ground_truth(index)
    records = read_boxes(boxes)
    image_ids = sorted(image["id"] for image in index.images)
    require_known_images(records, set(image_ids), boxes)
    if kind == "segm":
        _require_masks(index, records, boxes)
    found = average_precision(index, records, kind)
    outcomes = {
        "image_id": image_ids,
        "correct": [int(count > 0) for count in found.found],
        "objects": found.objects,
        "found": found.found,
    }
    scores = {"score": found.ap50, "ap": found.ap, "ap75": found.ap75, "ar100": found.ar100}
    return outcomes, scores | {"interval": list(found.interval)}


def mask_outcomes(index: Index, boxes: Path) -> tuple[Outcomes, dict[str, Any]]:
    """Whether the top mask of each image has IoU 0.5 or more with an object's, and its mean IoU.

    `saliency` has the measures of salient object detection: all masks of an image together, against
    all its objects together.

    Raises:
        InputError: there is no ground truth of masks, or boxes are of other images or have none.
    """
    _require_ground_truth(index)
    records = read_boxes(boxes)
    image_ids = [image["id"] for image in index.images]
    require_known_images(records, set(image_ids), boxes)
    _require_masks(index, records, boxes)
    top, boxes_of = top_boxes(records), boxes_by_image(records)
    truths = boxes_by_image(each for each in index.annotations if not each.get("iscrowd"))
    ious, measures = [], []
    for image in index.images:
        objects = _masks(truths.get(image["id"], []))
        own = boxes_of.get(image["id"], [])
        found = _masks(own)
        best = found[own.index(top[image["id"]])] if own else None
        ious.append(best_mask_iou(best, objects))
        nothing = np.zeros(index.image_size(image), dtype=bool)
        union = np.any([nothing, *found], axis=0)
        measures.append(saliency(union, np.any([nothing, *objects], axis=0)))
    interval = bootstrap_interval(ious)
    scores = {
        "score": 100 * float(np.mean(ious)),
        "interval": [100 * end for end in interval],
        "saliency": mean_saliency(measures),
    }
    return {"image_id": image_ids, **_by_iou(np.array(ious))}, scores


def _masks(records: Iterable[Mapping[str, Any]]) -> list[np.ndarray]:
    return [decode_mask(record["segmentation"]) for record in records]


def _require_masks(index: Index, records: list[Record], boxes: Path) -> None:
    """Check that every object and every box has a whole mask, and of its image's size."""
    sizes = {image["id"]: list(index.image_size(image)) for image in index.images}
    for what, owner in ((index.annotations, "the index"), (records, boxes)):
        for record in what:
            mask = record.get("segmentation", {})
            if not is_rle(mask) or mask["size"] != sizes[record["image_id"]]:
                raise InputError(
                    f"{owner}: an object of image {record['image_id']} has no mask of its image's"
                    " size; make it with --masks"
                )
            try:
                decode_mask(mask)
            except InputError as error:
                raise InputError(f"{owner}: image {record['image_id']}: {error}") from error


# Tasks of images: each gives the outcomes, and scores besides the share of those that are correct.
TASKS_OF_IMAGES = {
    "corloc": corloc_outcomes,
    "ap": ap_outcomes,
    "mask_iou": mask_outcomes,
    "mask_ap": partial(ap_outcomes, kind="segm"),
}


def _require_ground_truth(index: Index) -> None:
    if not any(len(index.boxes_xyxy(image["id"])) for image in index.images):
        raise InputError("the index has no ground-truth boxes: there is nothing to score against")


def find_points(
    targets: list[Target], heatmaps: Path, matches: Matches | None = None
) -> dict[Unit, tuple[float, float]]:
    """The highest point of the heatmap of each phrase, or of its caption: (x, y) in pixels.

    Args:
        matches: the caption of each phrase that has one, where maps are of captions.

    Raises:
        InputError: one has no heatmap.
    """
    # Here, since scoring boxes does without HDF5.
    from ..grounding.heatmaps_h5 import HeatmapFile

    asked = targets if matches is None else caption_targets(targets, matches)
    with HeatmapFile(heatmaps) as file:
        points = heatmap_points(asked, file)
    return points if matches is None else through_captions(points, matches)


def find_unions(
    index: Index, boxes: Path, matches: Matches | None = None
) -> dict[Unit, np.ndarray]:
    """The box around all boxes of each phrase, or of its caption: (4,) xyxy in pixels.

    Args:
        matches: as of `find_points`.

    Raises:
        InputError: boxes are of other phrases, or images, than the index's.
    """
    records = read_boxes(boxes)
    if matches is None:
        known = {(phrase.image_id, phrase.phrase_id) for phrase in index_phrases(index)}
        require_phrases(records, known, boxes)
        return record_unions(records)
    require_known_images(records, {image["id"] for image in index.images}, boxes)
    return through_captions(record_unions(records), matches)


def box_centers(index: Index, boxes: Path) -> dict[Unit, tuple[float, float]]:
    """The centre of the box around all boxes of each phrase: (x, y) in pixels.

    Raises:
        InputError: as `find_unions`.
    """
    unions = find_unions(index, boxes)
    return {unit: ((x1 + x2) / 2, (y1 + y2) / 2) for unit, (x1, y1, x2, y2) in unions.items()}


def pointing_outcomes(
    targets: list[Target], points: Mapping[Unit, tuple[float, float]], within: str
) -> Outcomes:
    """Whether the point of each phrase lies in its target; see `pointing_game`."""
    return {**_units(targets), "correct": pointing_game(targets, points, within)}


def accuracy_outcomes(targets: list[Target], unions: Mapping[Unit, np.ndarray]) -> Outcomes:
    """Whether the union of each phrase's boxes has IoU 0.5 or more with that of its targets."""
    return {**_units(targets), **_by_iou(union_ious(targets, unions))}


def _units(targets: list[Target]) -> Outcomes:
    images, phrases = zip(*(target.unit for target in targets), strict=True)
    return {"image_id": list(images), "phrase_id": list(phrases)}


def _by_iou(ious: np.ndarray) -> Outcomes:
    return {
        "correct": (ious >= IOU_THRESHOLD).astype(int).tolist(),
        "iou": ious.round(6).tolist(),
    }


def score(correct: list[int], image_ids: list[int]) -> dict[str, Any]:
    """The share of units that are correct in percent, its bootstrap interval and counts.

    Args:
        correct: 0 or 1 of each unit.
        image_ids: whose it is; whole images are resampled.
    """
    interval = bootstrap_interval(correct, groups=image_ids)
    return {
        "score": 100 * sum(correct) / len(correct),
        "interval": [100 * end for end in interval],
        "correct": sum(correct),
        "count": len(correct),
    }


def scores_by_group(
    outcomes: Outcomes, groups: dict[str, list[str]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """`score` of each group of each criterion; see `groups.target_groups`."""
    pairs = list(zip(outcomes["correct"], outcomes["image_id"], strict=True))
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    for criterion, names in groups.items():
        scores[criterion] = {}
        for group in sorted(set(names)):
            of_group = [pair for pair, name in zip(pairs, names, strict=True) if name == group]
            correct, image_ids = map(list, zip(*of_group, strict=True))
            scores[criterion][group] = score(correct, image_ids)
    return scores
