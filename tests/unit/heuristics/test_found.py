"""FOUND box for box against its rule, written out patch by patch."""

from __future__ import annotations

import math

import pytest
import torch
from literal import bounding_box, components, dot

from bbr.backbones.feature_maps import FeatureMaps
from bbr.errors import InputError
from bbr.heuristics.found import background_similarity, found_boxes, found_masks, head_weights
from bbr.heuristics.registry import heuristic_options, propose_boxes


def literal_box(features, attention, grid, threshold):
    """The box of one image; `features` are N rows of numbers, `attention` one row a head."""
    patches, heads = range(len(features)), range(len(attention))
    mean = sum(map(sum, attention)) / (len(patches) * len(heads))
    shares = [sum(value > mean for value in row) / len(patches) + 1e-10 for row in attention]
    weights = [math.log(sum(shares) / share) for share in shares]
    looked_at = [sum(weights[i] * attention[i][p] for i in heads) for p in patches]
    least = min(patches, key=lambda p: looked_at[p])
    width = len(features[0]) // len(heads)
    weighted = [[x * weights[i // width] for i, x in enumerate(row)] for row in features]
    norms = [math.sqrt(dot(row, row)) or 1.0 for row in weighted]
    cosines = [dot(weighted[p], weighted[least]) / (norms[p] * norms[least]) for p in patches]
    inside = {divmod(p, grid[1]) for p in patches if cosines[p] <= threshold}
    inside = inside or {divmod(min(patches, key=lambda p: cosines[p]), grid[1])}
    return bounding_box(max(components(inside), key=len))


class TestByHand:
    # Two heads of one channel. Head 0 looks strongly at the last patch alone, head 1 at half of
    # them; the first patch is the one that is looked at least.
    ATTENTION = torch.tensor([[[0.0, 0.1, 0.1, 0.9], [0.1, 0.4, 0.1, 0.4]]])

    def test_a_head_that_looks_at_less_counts_for_more(self):
        # 0.2625 is the mean of all: shares of 1/4 and 1/2.
        expected = torch.tensor([[math.log(3.0), math.log(1.5)]])
        torch.testing.assert_close(head_weights(self.ATTENTION), expected)

    def test_weights_change_what_is_alike(self):
        features = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 0.0]]])
        a, b = math.log(3.0), math.log(1.5)
        expected = torch.tensor([[1.0, a / math.hypot(a, b), 0.0, -1.0]])
        torch.testing.assert_close(background_similarity(features, self.ATTENTION), expected)
        # 0.94 is background, where plain cosines have 0.71.
        assert found_boxes(features, self.ATTENTION, (1, 4), 0.8).tolist() == [[2, 0, 4, 1]]

    def test_the_object_is_the_largest_component_and_then_the_next(self):
        features = torch.tensor([[[1.0], [-1.0], [1.0], [-1.0], [-1.0]]])
        attention = torch.tensor([[[0.0, 0.2, 0.1, 0.3, 0.4]]]).expand(1, 2, 5)
        features = features.expand(1, 5, 2)
        assert found_boxes(features, attention, (1, 5)).tolist() == [[3, 0, 5, 1]]
        known = torch.tensor([[False, False, False, True, True]])
        assert found_masks(features, attention, (1, 5), found=known).tolist() == [
            [[False, True, False, False, False]]
        ]

    def test_where_all_is_background_the_patch_least_like_it_is_left(self):
        features = torch.tensor([[[1.0, 1.0], [1.0, 0.9], [1.0, 0.5], [1.0, 0.9]]])
        assert found_boxes(features, self.ATTENTION, (2, 2)).tolist() == [[0, 1, 1, 2]]


@pytest.mark.parametrize("threshold", [-0.2, 0.0, 0.3, 0.7])
def test_batches_equal_going_image_by_image(threshold):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(100, 42, 12, generator=generator)
    features[:, 10:30, :6] += 1.5  # planted objects, so that components are not all crumbs
    attention = torch.rand(100, 3, 42, generator=generator) ** 3
    got = found_boxes(features, attention, (6, 7), threshold).tolist()
    rows = zip(features.double().tolist(), attention.double().tolist(), strict=True)
    assert got == [literal_box(*row, (6, 7), threshold) for row in rows]


def test_features_without_attention_are_refused():
    maps = FeatureMaps(torch.zeros(1, 4, 2), (2, 2))
    with pytest.raises(InputError, match=r"method found: these features have no cls_attention"):
        propose_boxes(maps, "found", heuristic_options("found", {}))
