"""MaskCut mask for mask against its rounds by a dense eigensolver (`literal.maskcut_masks`)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from literal import maskcut_masks as literal_masks
from tied_features import batches

from bbr.heuristics import eigensolver
from bbr.heuristics.maskcut import maskcut_boxes, maskcut_masks, maskcut_vectors
from bbr.heuristics.tokencut import tokencut_boxes

THRESHOLD, EPSILON, ROUNDS = 0.21, 1e-5, 3


def planted(grid, count, seed=0, dim=8):
    """Features of boxes of any size and place before a background: (count, N, dim)."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, *grid, dim))
    for image in features:
        image += 2 * rng.normal(size=dim)
        for _ in range(rng.integers(1, 4)):
            rows, columns = (np.sort(rng.integers(0, side + 1, 2)) for side in grid)
            image[slice(*rows), slice(*columns)] += 3 * rng.normal(size=dim)
    return torch.from_numpy(features.reshape(count, -1, dim)).float()


def cells(mask):
    return {(int(row), int(column)) for row, column in zip(*np.nonzero(mask), strict=True)}


def assert_equal_to_the_dense_solver(features, grid, threshold=THRESHOLD):
    """Round by round, as far as vectors are unique; returns how many masks were compared, and how
    many cuts were reversed by their corners."""
    expected = [literal_masks(f.numpy(), grid, threshold, EPSILON, ROUNDS) for f in features]
    found = torch.zeros(features.shape[:2], dtype=torch.bool)
    for number in range(ROUNDS):
        going = [i for i, (masks, _) in enumerate(expected) if len(masks) > number]
        if not going:
            break
        got = maskcut_masks(features[going], grid, threshold, EPSILON, found[going])
        for i, mask in zip(going, got, strict=True):
            assert cells(mask) == expected[i][0][number], (i, number)
        found[going] |= torch.from_numpy(got).flatten(1)
    return sum(len(masks) for masks, _ in expected), sum(times for _, times in expected)


@pytest.fixture
def lanczos(monkeypatch):
    """Small graphs through the solver for large ones."""
    monkeypatch.setattr(eigensolver, "_DENSE_BELOW", 2)
    monkeypatch.setattr(eigensolver, "_LAPACK_PRODUCTS", 1000)


class TestByHand:
    def test_a_side_with_the_corners_is_the_background(self):
        """The four corners are the smaller side, and |y| is largest there."""
        features = torch.tensor([[1.0, 0.0]]).repeat(20, 1)
        features[[0, 4, 15, 19]] = torch.tensor([0.0, 1.0])
        assert tokencut_boxes(features[None], (4, 5)).tolist() == [[0, 0, 1, 1]]
        assert maskcut_boxes(features[None], (4, 5)).tolist() == [[0, 0, 5, 4]]
        (mask,) = maskcut_masks(features[None], (4, 5))
        assert mask.sum() == 16
        (drawn,) = maskcut_vectors(features[None], (4, 5))
        np.testing.assert_allclose(drawn[mask], 1)
        assert (drawn[~mask] < 0).all()

    def test_a_side_with_two_of_them_may_be_the_object(self):
        features = torch.tensor([[1.0, 0.0]]).repeat(20, 1)
        features[:5] = torch.tensor([0.0, 1.0])
        assert maskcut_boxes(features[None], (4, 5)).tolist() == [[0, 0, 5, 1]]

    def test_where_nothing_else_is_left_corners_do_not_matter(self):
        features = torch.tensor([[1.0, 0.0]]).repeat(9, 1)
        features[4] = torch.tensor([0.0, 1.0])
        found = torch.zeros(1, 9, dtype=torch.bool)
        found[0, 4] = True
        assert maskcut_masks(features[None], (3, 3), found=found).any()
        assert maskcut_boxes(torch.randn(2, 1, 3), (1, 1)).tolist() == [[0, 0, 1, 1]] * 2


def test_equals_its_rounds_on_planted_objects():
    compared, reversed_ = assert_equal_to_the_dense_solver(planted((8, 9), 100), (8, 9))
    assert compared > 200
    assert reversed_ > 10


def test_lanczos_equals_its_rounds_on_planted_objects(lanczos):
    compared, reversed_ = assert_equal_to_the_dense_solver(planted((9, 8), 100, seed=1), (9, 8))
    assert compared > 200
    assert reversed_ > 10


def test_equals_its_rounds_on_large_maps():
    compared, reversed_ = assert_equal_to_the_dense_solver(planted((15, 16), 12, seed=2), (15, 16))
    assert compared > 30
    assert reversed_ > 0


@settings(deadline=None)
@given(batches())
def test_equals_its_rounds_on_ties_and_zeros(batch):
    assert_equal_to_the_dense_solver(*batch)


@settings(deadline=None, max_examples=50)
@given(batch=batches())
def test_lanczos_equals_its_rounds_on_ties_and_zeros(batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eigensolver, "_DENSE_BELOW", 2)
        patch.setattr(eigensolver, "_LAPACK_PRODUCTS", 1000)
        assert_equal_to_the_dense_solver(*batch)
