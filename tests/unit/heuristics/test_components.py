"""bbr.heuristics.components against a flood fill, and on masks small enough to check by eye."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from literal import bounding_box, component, components

from bbr.heuristics.components import component_at, label_components, largest_component, mask_boxes

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))


def picture(*rows):
    """One (1, h, w) mask drawn with # and dots."""
    return torch.tensor([[[c == "#" for c in row] for row in rows]])


def cells(mask):
    return {(int(row), int(column)) for row, column in zip(*np.nonzero(mask), strict=True)}


class TestLabels:
    def test_diagonal_neighbours_are_not_connected(self):
        assert label_components(picture("#.", ".#")).max() == 2

    def test_planes_of_a_batch_never_touch(self):
        labels = label_components(torch.ones(3, 2, 2, dtype=torch.bool))
        assert [np.unique(plane).tolist() for plane in labels] == [[1], [2], [3]]

    @given(MASKS)
    def test_equal_the_flood_fill(self, masks):
        labels = label_components(torch.from_numpy(masks))
        seen = set()
        for mask, plane in zip(masks, labels, strict=True):
            expected = components(cells(mask))
            got = [cells(plane == label) for label in np.unique(plane[plane > 0])]
            assert got == expected
            assert seen.isdisjoint(plane[plane > 0])
            seen.update(plane[plane > 0])


class TestComponentAt:
    def test_by_eye(self):
        mask = picture(
            "##.#",
            ".#.#",
            "#..#",
        )
        # Patch 7 is row 1, column 3 of 4 columns.
        np.testing.assert_array_equal(
            component_at(mask, torch.tensor([7])),
            picture(
                "...#",
                "...#",
                "...#",
            ),
        )

    @given(MASKS, st.data())
    def test_equals_the_flood_fill(self, masks, data):
        height, width = masks.shape[1:]
        seeds = [data.draw(st.integers(0, height * width - 1)) for _ in masks]
        for mask, seed in zip(masks, seeds, strict=True):
            mask[divmod(seed, width)] = True
        got = component_at(torch.from_numpy(masks), torch.tensor(seeds))
        for mask, seed, found in zip(masks, seeds, got, strict=True):
            assert cells(found) == component(cells(mask), divmod(seed, width))

    def test_seed_outside_its_mask_is_refused(self):
        with pytest.raises(ValueError, match="outside"):
            component_at(picture("#."), torch.tensor([1]))


class TestLargestComponent:
    def test_first_in_row_major_order_on_ties(self):
        mask = picture(
            "..##",
            "#...",
            "#...",
        )
        np.testing.assert_array_equal(
            largest_component(mask)[0], picture("..##", "....", "....")[0]
        )

    @given(MASKS)
    def test_equals_the_flood_fill(self, masks):
        masks[:, -1, -1] = True
        got = largest_component(torch.from_numpy(masks))
        for mask, found in zip(masks, got, strict=True):
            # `max` keeps the first of equals, and `components` are in row-major order.
            assert cells(found) == max(components(cells(mask)), key=len)

    def test_empty_mask_is_refused(self):
        with pytest.raises(ValueError, match="empty"):
            largest_component(torch.zeros(1, 2, 2, dtype=torch.bool))


class TestMaskBoxes:
    def test_by_eye(self):
        mask = picture(
            "....",
            ".#..",
            "..#.",
        ).numpy()
        assert mask_boxes(mask).tolist() == [[1, 1, 3, 3]]

    def test_one_patch_is_one_wide(self):
        assert mask_boxes(picture("..#").numpy()).tolist() == [[2, 0, 3, 1]]

    @given(MASKS)
    def test_equals_minima_and_maxima(self, masks):
        masks[:, 0, -1] = True
        expected = [bounding_box(cells(mask)) for mask in masks]
        assert mask_boxes(masks).tolist() == expected
