"""The graph over the region proposals of a collection (Vo et al. 2021, section 3).

Nodes are proposals. An edge between two of neighbouring images weighs how well they match: by
their looks, and by how many other regions of the two images agree on the same displacement
(probabilistic Hough matching, Cho et al. 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

_BLOCK = 1024
_SHIFT_BINS, _SCALE_BINS = 9, 5  # of displacements; the first for x and for y
_SCALE_RANGE = 2.0  # octaves up and down; beyond it, the last bin


@dataclass(frozen=True)
class Regions:
    """Proposals of one image.

    Attributes:
        boxes: (P, 4) float64 xyxy as fractions of the image's width and height.
        descriptors: (P, D) of unit length.
    """

    boxes: np.ndarray
    descriptors: np.ndarray


def nearest_images(descriptors: np.ndarray, count: int) -> np.ndarray:
    """The most similar other images of each image, by cosine.

    Args:
        descriptors: (n, d) float32.
        count: how many; never more than the n - 1 others.

    Returns:
        (n, min(count, n - 1)) int64. Time O(n² d), memory O(n) for each of a block of images.
    """
    lengths = np.linalg.norm(descriptors, axis=1, keepdims=True)
    unit = descriptors / np.maximum(lengths, 1e-12)
    count = min(count, len(unit) - 1)
    found = np.empty((len(unit), count), dtype=np.int64)
    for start in range(0, len(unit), _BLOCK):
        similarity = unit[start : start + _BLOCK] @ unit.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf
        if count:
            nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
            found[start : start + _BLOCK] = np.sort(nearest, axis=1)
    return found


def match_scores(first: Regions, second: Regions) -> np.ndarray:
    """How well each region of one image matches each of another: (P, Q) float32, not negative.

    score = likeness · sum of the likeness of all pairs whose displacement falls into the same bin
    of (x, y, scale), which is that of Hough matching with a box kernel.
    """
    looks = first.descriptors.astype(np.float32) @ second.descriptors.astype(np.float32).T
    likeness = np.maximum(looks, 0)
    bins = displacement_bins(first.boxes, second.boxes)
    votes = np.bincount(bins.ravel(), likeness.ravel())
    return likeness * votes[bins].astype(np.float32)


def displacement_bins(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The bin of the displacement from each box to each other: (P, 4), (Q, 4) to (P, Q) int64."""
    place, size = _centre_and_size(first)
    other_place, other_size = _centre_and_size(second)
    shift = (other_place[None] - place[:, None] + 1) / 2  # from 0 to 1
    octaves = (other_size[None] - size[:, None]) / _SCALE_RANGE  # from -1 to 1
    x, y = np.moveaxis(np.minimum((shift * _SHIFT_BINS).astype(np.int64), _SHIFT_BINS - 1), -1, 0)
    scale = np.rint((octaves.clip(-1, 1) + 1) / 2 * (_SCALE_BINS - 1)).astype(np.int64)
    return (y * _SHIFT_BINS + x) * _SCALE_BINS + scale


def _centre_and_size(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) centres and (P,) binary logarithms of the geometric mean of the sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return (boxes[:, :2] + boxes[:, 2:]) / 2, np.log2(sides).mean(axis=1)


def proposal_graph(
    images: Sequence[Regions], neighbors: np.ndarray, matches: int
) -> sparse.csr_array:
    """Weights between all proposals of a collection.

    Args:
        images: n images; their proposals are numbered one after the other.
        neighbors: (n, k) from `nearest_images`.
        matches: how many matches of a proposal in a neighbouring image are kept, the best ones.

    Returns:
        (T, T) symmetric, T proposals in all; at most 2·T·k·matches entries, where a full matrix
        of neighbours would have T·k·P. Time O(n k P² D) for P proposals in an image.
    """
    starts = np.cumsum([0, *(len(image.boxes) for image in images)])
    rows, columns, weights = [], [], []
    for i, others in enumerate(neighbors):
        for j in others:
            scores = match_scores(images[i], images[j])
            best = np.argsort(-scores, axis=1, kind="stable")[:, :matches]
            rows.append(np.repeat(np.arange(starts[i], starts[i + 1]), best.shape[1]))
            columns.append((starts[j] + best).ravel())
            weights.append(np.take_along_axis(scores, best, axis=1).ravel())
    size = (starts[-1], starts[-1])
    if not rows:
        return sparse.csr_array(size, dtype=np.float64)
    entries = (np.concatenate(rows), np.concatenate(columns))
    graph = sparse.csr_array((np.concatenate(weights).astype(np.float64), entries), shape=size)
    graph.eliminate_zeros()
    return graph.maximum(graph.T).tocsr()
