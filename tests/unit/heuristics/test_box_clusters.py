"""Clusters of boxes: mean features by counting eighths of patches, and groups worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bbr.errors import InputError
from bbr.heuristics.box_clusters import cluster, pool_boxes

EIGHTH = 0.125


def literal_mean(key, grid, box):
    """Each patch is 8 × 8 points; those inside a box that ends at eighths are counted."""
    rows, columns = grid
    total = [0.0] * len(key[0])
    for y in range(8 * rows):
        for x in range(8 * columns):
            middle = ((x + 0.5) * EIGHTH, (y + 0.5) * EIGHTH)
            if box[0] < middle[0] < box[2] and box[1] < middle[1] < box[3]:
                row = key[y // 8 * columns + x // 8]
                total = [a + b for a, b in zip(total, row, strict=True)]
    length = math.sqrt(sum(value * value for value in total))
    return [value / length for value in total]


class TestPooling:
    def test_by_hand(self):
        """Two patches side by side; the box has all of the first and half of the second."""
        key = np.array([[4.0, 0.0], [0.0, 6.0]])
        (found,) = pool_boxes(key, (1, 2), np.array([[0.0, 0.0, 1.5, 1.0]]))
        np.testing.assert_allclose(found, [0.8, 0.6])  # (4, 3), of length 5

    def test_equals_the_literal_version(self):
        rng = np.random.default_rng(0)
        for grid in ((3, 5), (4, 1), (6, 6)):
            key = rng.normal(size=(grid[0] * grid[1], 4))
            ends = np.sort(rng.integers(0, 8 * np.array(grid)[::-1, None], (30, 2, 2)), axis=2)
            ends[:, :, 1] += 1  # none is empty
            boxes = ends.transpose(0, 2, 1).reshape(-1, 4) * EIGHTH
            found = pool_boxes(key, grid, boxes)
            expected = [literal_mean(key.tolist(), grid, box) for box in boxes.tolist()]
            np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_what_lies_outside_counts_for_nothing(self):
        key = np.eye(4)
        inside = pool_boxes(key, (2, 2), np.array([[1.0, 0.0, 2.0, 2.0]]))
        np.testing.assert_allclose(
            pool_boxes(key, (2, 2), np.array([[1.0, -3.0, 7.0, 9.0]])), inside
        )

    def test_a_box_without_an_area_has_the_feature_of_its_place(self):
        boxes = np.array([[0.5, 1.5, 0.5, 1.5], [9.0, 0.5, 9.0, 0.5]])
        np.testing.assert_allclose(pool_boxes(np.eye(4), (2, 2), boxes), np.eye(4)[[2, 1]])

    def test_features_of_nothing_stay_zero(self):
        assert not pool_boxes(np.zeros((4, 3)), (2, 2), np.array([[0.0, 0.0, 2.0, 2.0]])).any()


def three_groups(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Nine, six and three boxes around three axes, shuffled; and which group each is of."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat([0, 1, 2], [9, 6, 3]))
    return np.eye(3)[groups] + rng.normal(scale=0.02, size=(18, 3)), groups


class TestClusters:
    @pytest.mark.parametrize("seed", range(5))
    def test_separated_groups_come_out_the_largest_first(self, seed):
        features, groups = three_groups(seed)
        found = cluster(features, 3, seed=seed)
        assert found.labels.tolist() == groups.tolist()
        means = np.array([features[groups == group].mean(axis=0) for group in range(3)])
        expected = [math.dist(row, means[g]) for row, g in zip(features, groups, strict=True)]
        np.testing.assert_allclose(found.distances, expected)

    def test_of_equally_large_ones_the_first_box_s_comes_first(self):
        features = np.repeat(np.eye(3), 2, axis=0)[[4, 0, 2, 1, 3, 5]]
        assert cluster(features, 3, seed=1).labels.tolist() == [0, 1, 2, 1, 2, 0]

    def test_the_same_seed_gives_the_same(self):
        features = np.random.default_rng(0).normal(size=(60, 5))
        first, second = cluster(features, 7, seed=3), cluster(features, 7, seed=3)
        assert (first.labels == second.labels).all()
        assert (first.distances == second.distances).all()
        assert (np.diff(np.bincount(first.labels)) <= 0).all()

    def test_as_many_as_boxes(self):
        assert sorted(cluster(np.eye(4), 4, seed=0).labels) == [0, 1, 2, 3]

    @pytest.mark.parametrize("features", [np.zeros((0, 3)), np.repeat(np.eye(2), 5, axis=0)])
    def test_too_few_different_boxes(self, features):
        with pytest.raises(InputError, match=r"[02] different boxes do not make 3 clusters"):
            cluster(features, 3, seed=0)
