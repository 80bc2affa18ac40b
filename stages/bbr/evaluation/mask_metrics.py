"""How well masks cover objects: IoU, and the measures of salient object detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

BETA_SQUARED = 0.3  # of F_β, as Achanta et al. (2009) and those after them have it


@dataclass(frozen=True)
class Saliency:
    """A mask against the foreground of its image, all in [0, 1].

    Attributes:
        iou: of the two.
        accuracy: share of the pixels on which they agree.
        f_beta: (1 + β²) precision · recall / (β² precision + recall), with β² = 0.3. The masks are
            binary, so that it is the greatest over all thresholds too.
    """

    iou: float
    accuracy: float
    f_beta: float


def mask_iou(first: np.ndarray, second: np.ndarray) -> float:
    """IoU of two masks (H, W) bool; of two empty ones 1."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def best_mask_iou(mask: np.ndarray | None, objects: Sequence[np.ndarray]) -> float:
    """The greatest IoU of a mask with an object's; 0 without a mask, or without an object."""
    return 0.0 if mask is None else max((mask_iou(mask, each) for each in objects), default=0.0)


def saliency(mask: np.ndarray, foreground: np.ndarray) -> Saliency:
    """The measures of one image; both masks (H, W) bool."""
    hits = np.count_nonzero(mask & foreground)
    taken, there = np.count_nonzero(mask), np.count_nonzero(foreground)
    precision, recall = hits / taken if taken else 0.0, hits / there if there else 0.0
    weighted = BETA_SQUARED * precision + recall
    f_beta = (1 + BETA_SQUARED) * precision * recall / weighted if weighted else 0.0
    accuracy = np.count_nonzero(mask == foreground) / mask.size
    return Saliency(mask_iou(mask, foreground), accuracy, f_beta)


def mean_saliency(measures: Sequence[Saliency]) -> Mapping[str, float]:
    """Means over images, in percent."""
    return {
        name: 100 * float(np.mean([getattr(each, name) for each in measures]))
        for name in ("iou", "accuracy", "f_beta")
    }
