"""How well scores tell right boxes from wrong ones: risk over coverage (El-Yaniv and Wiener 2010).

Coverage is the share of images whose box is kept, the most certain first; risk the share of wrong
boxes among them. Scores that say nothing have the same risk at every coverage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..storage.boxes_json import top_boxes

NO_BOX = -math.inf  # the score of an image without one, which comes last


def image_scores(records: Iterable[Mapping[str, Any]], image_ids: Iterable[int]) -> np.ndarray:
    """(n,) the score of each image's best box; `NO_BOX` where there is none."""
    best = top_boxes([dict(record) for record in records])
    return np.array([best[i]["score"] if i in best else NO_BOX for i in image_ids])


def risk_curve(scores: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """The risk among the 1, 2, ..., n most certain images.

    Images of one score come in random order: what stands here is the mean over all such orders.

    Args:
        scores: (n,) n at least 1.
        correct: (n,) 0 or 1.

    Returns:
        (n,) in [0, 1]; the last is the share of wrong boxes of all.
    """
    _, group, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
    share = np.bincount(group, 1 - correct) / sizes  # wrong, of each score, the highest first
    return np.cumsum(np.repeat(share, sizes)) / np.arange(1, len(scores) + 1)


def area(risks: np.ndarray) -> float:
    """The area under a curve of `risk_curve`: the mean risk over all coverages."""
    return float(risks.mean())


def best_area(correct: np.ndarray) -> float:
    """The least area that any scores could have: every right box before every wrong one."""
    return area(risk_curve(correct.astype(float), correct))


def corloc_at(risks: np.ndarray, coverage: float) -> float:
    """The share of right boxes, in percent, in so large a share of the images, at least one."""
    return 100 * (1 - float(risks[max(1, round(coverage * len(risks))) - 1]))
