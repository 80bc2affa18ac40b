"""Boxes from the heatmap of a phrase: pseudo-boxes for h, and what is evaluated (section 3).

The map is thresholded, the border of every 8-connected region and of every hole is followed (Suzuki
and Abe 1985, through OpenCV), and each border gives the smallest box around it. A box's score is
the mean of the thresholded map in it. Small boxes, overlapping ones and those of low score are
dropped.

Two thresholds are known (docs/protocol.md#boxes-from-a-heatmap). The released code has one rule for
pseudo-boxes and for evaluation: the map is min-max scaled to greys from 0 to 255 and cut at half of
the largest, so that its level does not matter. Its greys are those of a colour map, which moves the
cut from 0.502 of the range to 0.500. The paper's text cuts pseudo-boxes at half of the map's
maximum, and evaluated maps at 0.5.

The answer is defined for any map. Values that are not finite count as the lowest possible. A
constant map has no range and no box by the released rule; by the text's it has one box, the whole
map, where the threshold lets it pass, and a map without a positive value has none. A lone hot pixel
is below the least area, hence no box, unless the map is tiny. Peaks of equal score are all kept if
they lie apart. Borders of the map are borders of the regions that touch them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from ..options import option

MODES = ("pseudo", "evaluation")
NMS_BOXES = ("xyxy", "xywh")
THRESHOLDS = ("minmax", "absolute", "cubehelix")

_GREYS = 255
_PSEUDO_SHARE = 0.5  # of the map's maximum
_EVALUATION_LEVEL = 0.5
_MIN_AREA = 0.05  # of the map
_NMS_IOU = np.float64(0.05)  # not of Python's, which numpy would round to float32 to compare
_MIN_SCORE = 0.5  # of the best


@dataclass(frozen=True)
class ContourOptions:
    """How boxes are made."""

    mode: str = option("pseudo", "what the boxes are for", choices=MODES)
    nms_boxes: str = option(
        "xyxy",
        "xywh suppresses boxes as the released code does, which takes their sizes for corners",
        choices=NMS_BOXES,
    )
    box_threshold: str = option(
        "minmax",
        "minmax: greys up to half of the largest are nothing; cubehelix: those of a colour map, and"
        " boxes must exceed the least area and score, as in the released code; absolute, as the"
        " paper's text: pseudo cuts at half of the maximum, evaluation at 0.5",
        choices=THRESHOLDS,
    )

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r}: one of {', '.join(MODES)}")
        if self.nms_boxes not in NMS_BOXES:
            raise ValueError(f"nms_boxes {self.nms_boxes!r}: one of {', '.join(NMS_BOXES)}")
        if self.box_threshold not in THRESHOLDS:
            names = ", ".join(THRESHOLDS)
            raise ValueError(f"box_threshold {self.box_threshold!r}: one of {names}")


def heatmap_boxes(
    heatmap: np.ndarray, options: ContourOptions | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of one heatmap.

    Args:
        heatmap: (H, W), any float type.

    Returns:
        (n, 4) float32 `xyxy` in pixels of the map, right and bottom exclusive, and their scores
        (n,) float32; n may be 0. The best score comes first; among equal scores the larger box,
        then the upper, then the left one.
    """
    options = options or ContourOptions()
    kept = _threshold(heatmap, options)
    boxes = _contour_boxes(kept)
    suffices = np.greater if options.box_threshold == "cubehelix" else np.greater_equal
    boxes = boxes[suffices((boxes[:, 2:] - boxes[:, :2]).prod(1), _MIN_AREA * kept.size)]
    scores = np.array([kept[y1:y2, x1:x2].mean() for x1, y1, x2, y2 in boxes], dtype=np.float32)
    order = _best_first(boxes, scores)
    boxes, scores = boxes[order].astype(np.float32), scores[order]
    chosen = _suppress(_as_read(boxes, options.nms_boxes))
    boxes, scores = boxes[chosen], scores[chosen]
    good = suffices(scores, _MIN_SCORE * scores.max(initial=0))
    return boxes[good], scores[good]


def _threshold(heatmap: np.ndarray, options: ContourOptions) -> np.ndarray:
    """(H, W) float64 in [0, 1]; what is not kept is 0."""
    values = np.asarray(heatmap, dtype=np.float64)
    if options.box_threshold != "absolute":
        greys = _greys(values, coloured=options.box_threshold == "cubehelix")
        # Whole numbers, and what is equal to the threshold goes: of 0 to 255, 128 and more stay.
        return np.where(greys > greys.max(initial=0) // 2, greys, 0) / _GREYS
    values = np.where(np.isfinite(values), values, 0).clip(min=0)
    if options.mode == "evaluation":
        return (values >= _EVALUATION_LEVEL).astype(np.float64)
    return np.where(values >= _PSEUDO_SHARE * values.max(initial=0), values, 0)


def _greys(values: np.ndarray, coloured: bool) -> np.ndarray:
    """(H, W) int64: 0 at the lowest finite value, 255 at the highest; all 0 without a range.

    Args:
        coloured: the map is painted in 256 colours first, whose greys these are.
    """
    finite = np.isfinite(values)
    low = values.min(initial=np.inf, where=finite)
    span = values.max(initial=-np.inf, where=finite) - low
    if not span > 0:
        return np.zeros(values.shape, dtype=np.int64)
    shares = np.where(finite, (values - low) / span, 0)
    if coloured:
        return _colour_greys()[np.minimum(shares * 256, 255).astype(np.int64)]
    return (shares * _GREYS).astype(np.int64)


@cache
def _colour_greys() -> np.ndarray:
    """The grey of each colour of matplotlib's `cubehelix`: (256,) int64, never falling.

    Green (2011), "A colour scheme for the display of astronomical intensity images", equation 2,
    with start 0.5, -1.5 rotations, hue 1 and gamma 1.
    """
    share = np.linspace(0, 1, 256)
    angle = 2 * np.pi * (0.5 / 3 - 1.5 * share)
    turns = [[-0.14861, 1.78277], [-0.29227, -0.90649], [1.97294, 0.0]] @ np.array(
        [np.cos(angle), np.sin(angle)]
    )
    colours = (share + share * (1 - share) / 2 * turns).clip(0, 1).astype(np.float32) * _GREYS
    return cv2.cvtColor(colours.T[None].astype(np.uint8), cv2.COLOR_RGB2GRAY)[0].astype(np.int64)


def _contour_boxes(kept: np.ndarray) -> np.ndarray:
    """(n, 4) int64 `xyxy` around each outer border and each hole's border, no box twice."""
    positive = (kept > 0).astype(np.uint8)
    contours, _ = cv2.findContours(positive, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    xywh = np.array([cv2.boundingRect(c) for c in contours], dtype=np.int64).reshape(-1, 4)
    xyxy = np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), axis=1)
    return np.unique(xyxy, axis=0)


def _best_first(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return np.lexsort((boxes[:, 0], boxes[:, 1], -areas, -scores))


def _as_read(boxes: np.ndarray, convention: str) -> np.ndarray:
    """What non-maximum suppression takes for corners."""
    if convention == "xyxy":
        return boxes
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)


def _suppress(corners: np.ndarray) -> list[int]:
    """Greedy non-maximum suppression of boxes in order of their score; positions of those kept.

    It is `torchvision.ops.nms`, also on "boxes" of negative size, which the release's convention
    brings about; evaluation reads files only, and importing torch would take longer than its work.
    """
    areas = (corners[:, 2:] - corners[:, :2]).prod(1)
    kept: list[int] = []
    for i, corner in enumerate(corners):
        low = np.maximum(corners[kept, :2], corner[:2])
        high = np.minimum(corners[kept, 2:], corner[2:])
        overlaps = (high - low).clip(min=0).prod(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ious = overlaps / (areas[kept] + areas[i] - overlaps)
        if not (ious > _NMS_IOU).any():
            kept.append(i)
    return kept
