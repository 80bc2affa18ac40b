"""MOST mask for mask against its rules, patch by patch and box by box (`literal.most_masks`)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from literal import bounding_box
from literal import most_masks as literal_masks
from torch.nn import functional

from bbr.heuristics import most
from bbr.heuristics.most import foreground, map_entropies, most_boxes, most_masks, orderliness

THRESHOLD = 0.21  # no cosine of small whole numbers, so that rounding decides nothing


def planted(grid, count, seed=0, dim=12):
    """Features of boxes in noise, which is the background: (count, N, dim)."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, *grid, dim))
    for image in features:
        for _ in range(rng.integers(1, 4)):
            rows, columns = (np.sort(rng.integers(0, side + 1, 2)) for side in grid)
            image[slice(*rows), slice(*columns)] += 3 * rng.normal(size=dim)
    return torch.from_numpy(features.reshape(count, -1, dim)).float()


def all_masks(features, grid, scales):
    """Of each image, as sets of cells."""
    found = torch.zeros(features.shape[:2], dtype=torch.bool)
    masks = [[] for _ in features]
    while True:
        new = most_masks(features, grid, THRESHOLD, scales, found)
        if not new.any():
            return masks
        found |= torch.from_numpy(new).flatten(1)
        for own, mask in zip(masks, new, strict=True):
            own += [{(int(r), int(c)) for r, c in np.argwhere(mask)}] if mask.any() else []


def assert_equal_to_the_literal_version(features, grid, scales=5):
    """Returns how many masks there are."""
    expected = [literal_masks(image.numpy(), grid, THRESHOLD, scales) for image in features]
    assert all_masks(features, grid, scales) == expected
    boxes = most_boxes(features, grid, THRESHOLD, scales).tolist()
    assert boxes == [bounding_box(masks[0]) for masks in expected]
    return sum(map(len, expected))


class TestByHand:
    # Two patches of an object and a third elsewhere, in a channel of each, before a background.
    #   . A A . .
    #   . A A . B
    #   . . . . .
    GRID = (3, 5)
    FEATURES = torch.zeros(1, 15, 3)
    FEATURES[0, :, 2] = 1
    FEATURES[0, [1, 2, 6, 7]] = torch.tensor([1.0, 0.0, 0.0])
    FEATURES[0, 9] = torch.tensor([0.0, 1.0, 0.0])

    def test_entropies(self):
        entropies, degrees = map_entropies(self.FEATURES, self.GRID, 0.2, 5)
        assert degrees[0, [1, 9, 0]].tolist() == [4, 1, 10]
        assert entropies.shape == (1, 15, 3)  # boxes of four patches do not fit
        # One patch a box: shares of ones of 4/15. Four: two boxes with 2 each. Nine: one box.
        one = -(4 / 15 * math.log2(4 / 15) + 11 / 15 * math.log2(11 / 15))
        assert entropies[0, 1].tolist() == pytest.approx([one, 0, 0])
        # Five kinds of counts: the alone one's map is empty in both boxes.
        assert entropies[0, 9, 1].item() == 0

    def test_two_counts_in_two_boxes_are_one_bit_of_those_of_five(self):
        units = functional.one_hot(torch.tensor([0, 0, 1, 1, 0, 0, 1, 1]), 2)[None].float()
        entropies, _ = map_entropies(units, (2, 4), 0.2, 2)
        np.testing.assert_allclose(entropies[0, :, 1], 1 / math.log2(5))
        np.testing.assert_allclose(orderliness(units, (2, 4), 0.2, 2), 0.5 - 0.5 / math.log2(5))

    def test_pools_by_size_and_no_background(self):
        masks = all_masks(self.FEATURES, self.GRID, 5)
        assert masks == [[{(0, 1), (0, 2), (1, 1), (1, 2)}, {(1, 4)}]]
        assert most_boxes(self.FEATURES, self.GRID).tolist() == [[1, 0, 3, 2]]

    def test_a_map_of_more_than_half_is_the_background_s(self):
        entropies = torch.zeros(1, 4, 2)
        assert foreground(entropies, torch.tensor([[1, 2, 3, 4]])).tolist() == [
            [True, True, False, False]
        ]

    def test_most_scales_decide(self):
        entropies = torch.tensor([[[0.1, 0.1, 0.9], [0.9, 0.1, 0.9], [0.5, 0.8, 0.1]]])
        assert foreground(entropies, torch.ones(1, 3).long()).tolist() == [[True, False, True]]

    def test_without_a_patch_that_passes_the_one_of_lowest_degree_stands_for_all(self):
        degrees = torch.tensor([[3, 4, 3, 4]])
        assert foreground(torch.zeros(1, 4, 2), degrees).tolist() == [[True, False, False, False]]

    @pytest.mark.parametrize(("value", "box"), [(1.0, [0, 0, 3, 2]), (0.0, [0, 0, 1, 1])])
    def test_without_any_structure_there_is_one_box(self, value, box):
        features = torch.full((2, 6, 4), value)
        assert most_boxes(features, (2, 3)).tolist() == [box] * 2
        assert most_boxes(torch.randn(3, 1, 4), (1, 1)).tolist() == [[0, 0, 1, 1]] * 3


@pytest.mark.parametrize(("scales", "count"), [(1, 20), (3, 20), (5, 100)])
def test_equals_the_literal_version_on_planted_objects(scales, count):
    features = planted((6, 7), count, seed=scales)
    assert assert_equal_to_the_literal_version(features, (6, 7), scales) > count


def test_equals_the_literal_version_in_pieces(monkeypatch):
    """Where the maps of an image are not all looked at at once."""
    monkeypatch.setattr(most, "_AT_ONCE", 7 * 42)
    assert assert_equal_to_the_literal_version(planted((7, 6), 5), (7, 6)) > 5


@st.composite
def batches(draw):
    """Integer features with many ties and zeros, of any small grid."""
    grid = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    shape = (draw(st.integers(1, 3)), grid[0] * grid[1], draw(st.integers(1, 3)))
    features = draw(hnp.arrays(np.int8, shape, elements=st.integers(-2, 2)))
    return torch.from_numpy(features.astype(np.float32)), grid


@settings(deadline=None)
@given(batches(), st.integers(1, 6))
def test_equals_the_literal_version_on_ties_and_zeros(batch, scales):
    assert_equal_to_the_literal_version(*batch, scales)
