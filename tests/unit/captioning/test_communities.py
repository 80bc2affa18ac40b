"""Communities of captions: hand-worked cases, and versions written straight from the definition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from bbr.captioning.communities import (
    COMMUNITIES,
    CommunityOptions,
    find_communities,
    representatives,
    similarity,
)

THRESHOLD = CommunityOptions("threshold")
LOUVAIN = CommunityOptions("louvain")


def unit(*rows: list[float]) -> np.ndarray:
    wide = np.array(rows, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def clustered(seed: int, count: int = 40, spread: float = 0.35) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, 8))
    return unit(*(centres[rng.integers(0, 6, count)] + spread * rng.normal(size=(count, 8))))


def literal_threshold(embeddings: np.ndarray, threshold: float, least: int) -> list[list[int]]:
    """Every caption's neighbours; the largest such set first, of what is left of each."""
    cosines = [[round(float(a @ b), 5) for b in embeddings] for a in embeddings]
    sets = []
    for i, row in enumerate(cosines):
        near = [j for j, cosine in enumerate(row) if cosine >= threshold or j == i]
        if len(near) >= least:
            sets.append(near)
    sets.sort(key=len, reverse=True)
    taken: set[int] = set()
    found = []
    for near in sets:
        free = [j for j in near if j not in taken]
        if len(free) >= least:
            taken.update(free)
            found.append(free)
    return sorted(found, key=lambda c: (-len(c), c[0])) or [[i] for i in range(len(embeddings))]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("threshold", "least"), [(0.85, 2), (0.6, 3), (0.97, 2), (0.85, 1)])
def test_threshold_communities(seed: int, threshold: float, least: int) -> None:
    embeddings = clustered(seed)
    options = CommunityOptions("threshold", threshold, least)
    found = find_communities(embeddings, options)
    assert found == literal_threshold(embeddings, threshold, least)
    assert any(len(community) > 1 for community in found)


def modularity(communities: list[list[int]], weights: np.ndarray) -> float:
    """Blondel et al. 2008, equation 1, term by term."""
    total = weights.sum()  # 2m
    degree = weights.sum(1)
    label = {i: n for n, community in enumerate(communities) for i in community}
    return sum(
        (weights[i, j] - degree[i] * degree[j] / total) / total
        for i in range(len(weights))
        for j in range(len(weights))
        if label[i] == label[j]
    )


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """All of them."""
    if not items:
        yield []
        return
    first, *rest = items
    for parts in partitions(rest):
        yield [[first], *parts]
        for n, part in enumerate(parts):
            yield [*parts[:n], [first, *part], *parts[n + 1 :]]


@pytest.mark.parametrize("seed", range(4))
def test_louvain_finds_the_partition_of_greatest_modularity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, 5))
    embeddings = unit(*(centres[[0, 0, 0, 1, 1, 1, 2, 2]] + 0.45 * rng.normal(size=(8, 5))))
    options = CommunityOptions("louvain", threshold=0.6)
    alike = similarity(embeddings)
    weights = np.where(alike >= options.threshold, alike, 0)
    np.fill_diagonal(weights, 0)
    found = COMMUNITIES["louvain"](alike, options)
    best = max(modularity(parts, weights) for parts in partitions(list(range(8))))
    assert modularity(found, weights) == pytest.approx(best)


@pytest.mark.parametrize("options", [LOUVAIN, THRESHOLD])
class TestEitherWay:
    def test_hand_worked(self, options: CommunityOptions) -> None:
        # Cosines: 0 and 2 0.995, 1 and 4 0.98, 3 alone.
        embeddings = unit([1, 0, 0], [0, 1, 0], [1, 0.1, 0], [0, 0, 1], [0.2, 1, 0])
        assert find_communities(embeddings, options) == [[0, 2], [1, 4]]

    def test_identical_captions_are_one(self, options: CommunityOptions) -> None:
        embeddings = np.repeat(unit([3, 1, 2]), 7, axis=0)
        assert find_communities(embeddings, options) == [[*range(7)]]
        assert representatives(embeddings, [[*range(7)]]) == [0]

    def test_a_lone_caption_is_kept(self, options: CommunityOptions) -> None:
        assert find_communities(unit([1, 2]), options) == [[0]]

    def test_no_captions(self, options: CommunityOptions) -> None:
        assert find_communities(np.zeros((0, 4)), options) == []

    def test_captions_that_are_all_unlike_are_kept(self, options: CommunityOptions) -> None:
        assert find_communities(np.eye(3), options) == [[0], [1], [2]]

    def test_or_there_is_none_as_in_wwbl_s_code(self, options: CommunityOptions) -> None:
        skipping = replace(options, no_community="none")
        assert find_communities(np.eye(3), skipping) == []
        two = unit([1, 0], [1, 0], [0, 1])
        assert find_communities(two, skipping) == find_communities(two, options) == [[0, 1]]

    def test_no_caption_is_in_two(self, options: CommunityOptions) -> None:
        found = find_communities(clustered(3, 120), options)
        members = [i for community in found for i in community]
        assert len(members) == len(set(members))
        assert [len(c) for c in found] == sorted(map(len, found), reverse=True)


def test_louvain_is_the_same_each_time() -> None:
    embeddings = clustered(5, 120, spread=0.6)
    first = find_communities(embeddings, LOUVAIN)
    assert all(find_communities(embeddings, LOUVAIN) == first for _ in range(5))


def test_the_representative_is_nearest_to_the_mean() -> None:
    embeddings = clustered(4, 30)
    communities = find_communities(embeddings, THRESHOLD)
    for community, chosen in zip(
        communities, representatives(embeddings, communities), strict=True
    ):
        mean = sum(embeddings[i] for i in community) / len(community)
        cosines = {i: float(embeddings[i] @ mean / np.linalg.norm(mean)) for i in community}
        assert cosines[chosen] == pytest.approx(max(cosines.values()), abs=1e-5)
        assert chosen in community
