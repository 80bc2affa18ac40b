"""COCO's average precision and recall of all boxes of a dataset, whatever their class.

pycocotools matches and averages; the bootstrap interval of AP50 is drawn here from its matches.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.index import Index
from ..storage.boxes_json import Record
from .statistics import LEVEL, SEED

_CLASS = 1
_RECALLS = np.linspace(0, 1, 101)
_RESAMPLES = 1000  # each costs a pass over all boxes


@dataclass(frozen=True)
class AveragePrecision:
    """Scores in percent, and per image what AP50 is made from.

    Attributes:
        ap: mean over IoU thresholds 0.50, 0.55, ... 0.95.
        ap50, ap75: at one threshold.
        ar100: share of the objects that the 100 best boxes of each image find, mean over those ten
            thresholds.
        interval: bootstrap 95 % interval of `ap50`, images resampled.
        objects: ground-truth boxes of each image of the index, crowds apart.
        found: how many of them are matched at IoU 0.5.
    """

    ap: float
    ap50: float
    ap75: float
    ar100: float
    interval: tuple[float, float]
    objects: list[int]
    found: list[int]


def average_precision(index: Index, records: list[Record], kind: str = "bbox") -> AveragePrecision:
    """Evaluate class-agnostic boxes, at most 100 an image; crowds are neither hit nor missed.

    Args:
        index: with at least one ground-truth box that is not a crowd.
        records: COCO results on its images, in any number; categories are ignored.
        kind: bbox, or segm: IoU is that of masks, which every object and record has.
    """
    # These take a while to import, and CorLoc does without.
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        truth, found = COCO(), COCO()
        truth.dataset, found.dataset = _truth(index), _results(index, records)
        truth.createIndex()
        found.createIndex()
        evaluation = COCOeval(truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # The first three are precisions; the ninth is recall with up to 100 boxes an image.
    ap, ap50, ap75, ar100 = (100 * max(0.0, float(evaluation.stats[i])) for i in (0, 1, 2, 8))
    owner, scores, hits, objects = _matches(evaluation, len(index.images))
    matched = np.bincount(owner, weights=hits, minlength=len(objects)).astype(int)
    interval = _interval(owner, scores, hits, objects)
    return AveragePrecision(ap, ap50, ap75, ar100, interval, objects.tolist(), matched.tolist())


def _truth(index: Index) -> dict[str, list[dict[str, object]]]:
    annotations = [
        {
            "id": number,
            "image_id": annotation["image_id"],
            "category_id": _CLASS,
            "bbox": annotation["bbox"],
            "area": annotation["bbox"][2] * annotation["bbox"][3],
            "iscrowd": int(annotation.get("iscrowd", 0)),
            **_mask(annotation),
        }
        for number, annotation in enumerate(index.annotations, 1)
    ]
    return {"annotations": annotations, **_frame(index)}


def _results(index: Index, records: list[Record]) -> dict[str, list[dict[str, object]]]:
    annotations = [
        {
            "id": number,
            "image_id": record["image_id"],
            "category_id": _CLASS,
            "bbox": record["bbox"],
            "area": record["bbox"][2] * record["bbox"][3],
            "iscrowd": 0,
            "score": record["score"],
            **_mask(record),
        }
        for number, record in enumerate(records, 1)
    ]
    return {"annotations": annotations, **_frame(index)}


def _mask(record: Mapping[str, Any]) -> dict[str, object]:
    return {key: record[key] for key in ("segmentation",) if key in record}


def _frame(index: Index) -> dict[str, list[dict[str, object]]]:
    kept = ("id", "height", "width")
    images = [{key: image[key] for key in kept if key in image} for image in index.images]
    return {"images": images, "categories": [{"id": _CLASS, "name": "object"}]}


def _matches(evaluation: Any, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """pycocotools' matches at IoU 0.5, for objects of all sizes.

    Returns:
        owner (d,) the image's place, scores (d,) and hits (d,) 0 or 1 of each counted box, and
        objects (images,), how many there are to find. Places are in the order of the image ids.
    """
    owner, scores, hits = [np.empty(0, dtype=int)], [np.empty(0)], [np.empty(0)]
    objects = np.zeros(images, dtype=int)
    # The first `images` entries are those of the first range of areas, which is all.
    for place, image in enumerate(evaluation.evalImgs[:images]):
        if image is None:
            continue
        counted = ~np.asarray(image["dtIgnore"][0], dtype=bool)
        owner.append(np.full(counted.sum(), place))
        scores.append(np.asarray(image["dtScores"])[counted])
        hits.append((np.asarray(image["dtMatches"][0])[counted] > 0).astype(float))
        objects[place] = int((np.asarray(image["gtIgnore"]) == 0).sum())
    return np.concatenate(owner), np.concatenate(scores), np.concatenate(hits), objects


def _interval(
    owner: np.ndarray, scores: np.ndarray, hits: np.ndarray, objects: np.ndarray
) -> tuple[float, float]:
    """The percentile bootstrap interval of AP50 in percent."""
    order = np.argsort(-scores, kind="stable")
    owner, hits = owner[order], hits[order]
    images = len(objects)
    drawn = np.random.default_rng(SEED).multinomial(
        images, np.full(images, 1 / images), size=_RESAMPLES
    )
    values = [weighted_ap(counts[owner], hits, float(counts @ objects)) for counts in drawn]
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return 100 * float(low), 100 * float(high)


def weighted_ap(weights: np.ndarray, hits: np.ndarray, objects: float) -> float:
    """COCO's 101-point average precision of boxes in descending order of score.

    Args:
        weights: (d,) how often each box counts.
        hits: (d,) 1 where it matches an object, else 0.
        objects: how many there are to find, counted likewise; 0 gives 0.
    """
    if objects == 0 or not len(hits):
        return 0.0
    true = np.cumsum(weights * hits)
    precision = true / np.maximum(np.cumsum(weights), np.spacing(1))
    # The best precision at this recall or a higher one.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(true / objects, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[place].mean())
