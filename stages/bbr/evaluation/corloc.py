"""CorLoc: the share of images whose top box overlaps an object by half or more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

IOU_THRESHOLD = 0.5


def aligned_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of box i of `first` with box i of `second`.

    Coordinates are continuous: a box covers (x2 - x1) by (y2 - y1) pixels. Two empty boxes have
    IoU 0.

    Args:
        first: (n, 4) `xyxy`.
        second: (n, 4) `xyxy`.

    Returns:
        (n,) float64 in [0, 1].
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    overlap = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    intersection = overlap.clip(min=0).prod(1)
    union = _area(first) + _area(second) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def union_box(boxes: np.ndarray) -> np.ndarray:
    """The smallest box (4,) around (n, 4) `xyxy` boxes, n at least 1."""
    return np.concatenate((boxes[:, :2].min(0), boxes[:, 2:].max(0)))


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def best_ious(
    predictions: Mapping[int, Sequence[float]],
    ground_truth: Mapping[int, np.ndarray],
) -> np.ndarray:
    """The IoU of each image's predicted box with the ground-truth box it overlaps most.

    CorLoc is the share of these that reach `IOU_THRESHOLD` (section 4, "Metrics").

    Args:
        predictions: `xyxy` box by image id; images may be missing, which are misses.
        ground_truth: (m, 4) `xyxy` boxes by image id; m = 0 is a miss too.

    Returns:
        (n,) float64, in the order of `ground_truth`; 0 where there is no box to compare.
    """
    no_box = np.zeros(4)
    predicted = np.array([predictions.get(image_id, no_box) for image_id in ground_truth])
    counts = [len(boxes) for boxes in ground_truth.values()]
    best = np.zeros(len(counts))
    if not any(counts):
        return best
    owner = np.repeat(np.arange(len(counts)), counts)
    truths = np.concatenate([boxes for boxes in ground_truth.values() if len(boxes)])
    np.maximum.at(best, owner, aligned_iou(predicted[owner], truths))
    return best
