"""Ranking the nodes of a sparse graph: the two stages of LOD (Vo et al. 2021, section 3).

Both are power iterations of at most 100 products with the matrix, so their time is linear in the
number of edges. Nodes without an edge score zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from scipy import sparse

_UNIFORM = 1e-4  # weight of a complete graph that is mixed in, so that the solution is unique
_TELEPORT = 1e-4  # chance of a jump to the prior
_ITERATIONS = 100
_TOLERANCE = 1e-6  # on the length of a step, as in the released code


def quadratic_scores(graph: sparse.csr_array) -> np.ndarray:
    """The unit vector y >= 0 that maximises yᵀ W y: the leading eigenvector, (T,) float64.

    Args:
        graph: (T, T) W, symmetric and not negative.
    """
    linked = _linked(graph)
    count = max(linked.sum(), 1.0)

    def step(scores: np.ndarray) -> np.ndarray:
        mixed = (1 - _UNIFORM) * (graph @ scores) + _UNIFORM * scores.sum() / count * linked
        return mixed / max(np.linalg.norm(mixed), 1e-300)

    return _iterate(step, linked / np.sqrt(count))


def pagerank(graph: sparse.csr_array, prior: np.ndarray) -> np.ndarray:
    """PageRank of a random walk along the edges, by weight, with jumps to a prior: (T,) float64.

    Args:
        graph: (T, T), symmetric and not negative.
        prior: (T,) of sum 1; zero on nodes without an edge.
    """
    linked = _linked(graph)
    count = max(linked.sum(), 1.0)
    out = graph.sum(axis=1)
    share = np.divide(1.0, out, out=np.zeros_like(out), where=out > 0)

    def step(scores: np.ndarray) -> np.ndarray:
        walked = (1 - _UNIFORM) * (graph.T @ (scores * share)) + _UNIFORM / count * linked
        return (1 - _TELEPORT) * walked + _TELEPORT * prior

    return _iterate(step, prior)


def rank_proposals(
    graph: sparse.csr_array, starts: Sequence[int], trusted: float = 0.1
) -> np.ndarray:
    """LOD's score of each proposal.

    The quadratic problem comes first; the best proposal of each of the images that it is surest
    of makes the prior of the PageRank.

    Args:
        graph: (T, T), symmetric and not negative.
        starts: (n + 1,) proposals of image i are starts[i]:starts[i + 1], at least one each.
        trusted: share of the images that make the prior.
    """
    linked = _linked(graph)
    scores = quadratic_scores(graph)
    best = best_of_each(scores, starts)
    surest = best[np.argsort(-scores[best], kind="stable")]
    seeds = surest[: max(1, round(trusted * len(surest)))]
    prior = np.zeros_like(scores)
    prior[seeds] = linked[seeds]
    prior = prior if prior.any() else linked
    return pagerank(graph, prior / max(prior.sum(), 1.0))


def best_of_each(scores: np.ndarray, starts: Sequence[int]) -> np.ndarray:
    """The number of the best proposal of each image, the first on ties: (n,) int64."""
    spans = pairwise(starts)
    return np.array([a + scores[a:b].argmax() for a, b in spans], dtype=np.int64)


def _linked(graph: sparse.csr_array) -> np.ndarray:
    return (graph.sum(axis=1) > 0).astype(np.float64)


def _iterate(step: Callable[[np.ndarray], np.ndarray], scores: np.ndarray) -> np.ndarray:
    for _ in range(_ITERATIONS):
        following = step(scores)
        if np.linalg.norm(following - scores) < _TOLERANCE:
            return following
        scores = following
    return scores
