"""Clusters of boxes by what is in them: k-means on the mean feature of each box.

Boxes that hold the same kind of thing have features that point the same way, so that means are
compared by their direction.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import numpy as np
from scipy.cluster.vq import ClusterError, kmeans2

from ..errors import InputError

_LEAST_SIDE = 1e-3  # in patches: a box without an area has the feature of where it lies
_STARTS, _ITERATIONS = 10, 50


class Clusters(NamedTuple):
    """Boxes in clusters, the largest of which is number 0; of equally large ones the earlier box's.

    Attributes:
        labels: (n,) int64, the cluster of each box.
        distances: (n,) float64, of each box to the mean of its cluster.
    """

    labels: np.ndarray
    distances: np.ndarray


def pool_boxes(key: np.ndarray, grid: tuple[int, int], boxes: np.ndarray) -> np.ndarray:
    """The mean feature of each box, of length 1; a patch counts by the share of it that is inside.

    Args:
        key: (N, d) features of one image's patches, N = h·w, row-major.
        grid: (h, w).
        boxes: (n, 4) xyxy in patches; what lies outside of the grid is left out.

    Returns:
        (n, d) float64.
    """
    columns = _coverage(boxes[:, 0], boxes[:, 2], grid[1])
    rows = _coverage(boxes[:, 1], boxes[:, 3], grid[0])
    weights = (rows[:, :, None] * columns[:, None, :]).reshape(len(boxes), -1)
    sums = np.einsum("np,pd->nd", weights, key.astype(np.float64))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return sums / np.where(lengths > 0, lengths, 1)


def _coverage(low: np.ndarray, high: np.ndarray, count: int) -> np.ndarray:
    """(n, count): how much of each of `count` cells lies between `low` and `high`, (n,) each."""
    low = np.clip(low, 0, count - _LEAST_SIDE)[:, None]
    high = np.clip(high[:, None], low + _LEAST_SIDE, count)
    cells = np.arange(count)
    return np.clip(np.minimum(high, cells + 1) - np.maximum(low, cells), 0, None)


def cluster(features: np.ndarray, count: int, seed: int) -> Clusters:
    """k-means++, the tightest of several starts.

    Args:
        features: (n, d) float64.
        count: how many clusters, each of which gets a box.
        seed: of the starts.

    Raises:
        InputError: fewer boxes than clusters, boxes of the same feature counted once.
    """
    different = len(np.unique(features, axis=0))
    found: list[Clusters] = []
    rng = np.random.default_rng(seed)
    for _ in range(_STARTS if different >= count else 0):
        with contextlib.suppress(ClusterError):  # a cluster ran empty
            start = {"iter": _ITERATIONS, "minit": "++", "missing": "raise", "rng": rng}
            means, labels = kmeans2(features, count, **start)
            distances = np.linalg.norm(features - means[labels], axis=1)
            found.append(Clusters(labels.astype(np.int64), distances))
    if not found:
        raise InputError(
            f"{different} different boxes do not make {count} clusters; ask for fewer clusters, or"
            " for more boxes"
        )
    best = min(found, key=lambda each: float((each.distances**2).sum()))
    return Clusters(_by_size(best.labels), best.distances)


def _by_size(labels: np.ndarray) -> np.ndarray:
    """The same clusters, numbered from the largest on; of equal ones from the first box's."""
    _, first, inverse, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    return np.lexsort((first, -sizes)).argsort()[inverse]
