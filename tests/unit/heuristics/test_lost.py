"""LOST box for box against docs/protocol.md#lost, written out patch by patch (`literal.lost_box`).

Random features are multiples of 1/8 below 4, with at most 8 channels: every inner product and
every sum of rows then has fewer than 24 bits, float32 arithmetic is exact in any order, and the
boxes must be equal without any tolerance, exact zeros and ties included.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from literal import lost_box

from bbr.heuristics.lost import candidate_count, lost_boxes, lost_masks, patch_degrees


def literal_boxes(features, grid, k_patches):
    return [lost_box(image.tolist(), grid, k_patches) for image in features]


def features_of(*rows):
    """A batch of one image from its patches' features."""
    return torch.tensor([rows], dtype=torch.float32)


class TestByHand:
    # Channel 1 tells the object (+) from the background (-): the fewer patches of one kind, the
    # lower the degree of each.
    GRID = (3, 4)
    OBJECT = ("-", "-", "-", "+", "-", "+", "+", "-", "-", "-", "+", "-")

    def test_component_of_the_seed(self):
        features = features_of(*([1.0] if c == "+" else [-1.0] for c in self.OBJECT))
        # Degrees: 3 for the object's four patches, 7 for the others. The seed is patch 3, which is
        # no 4-neighbour of the other three.
        degrees = patch_degrees(features)
        assert degrees.tolist() == [[3 if c == "+" else 7 for c in self.OBJECT]]
        assert lost_boxes(features, self.GRID).tolist() == [[3, 0, 4, 1]]

    def test_first_patch_is_the_seed_on_ties(self):
        features = features_of([1.0], [1.0], [-1.0], [-1.0])
        assert lost_boxes(features, (1, 4)).tolist() == [[0, 0, 2, 1]]
        assert lost_boxes(-features, (1, 4)).tolist() == [[0, 0, 2, 1]]

    def test_only_the_lowest_degrees_may_join_the_seed(self):
        # Degrees 1, 2, 1: patch 0 is the seed; patch 1 joins it only where `k_patches` allows for
        # three. Its row then brings in patch 2, which is not like the seed.
        features = features_of([1.0, 0.0], [1.0, 1.0], [0.0, 1.0])
        assert lost_boxes(features, (1, 3), k_patches=2).tolist() == [[0, 0, 2, 1]]
        assert lost_boxes(features, (1, 3), k_patches=3).tolist() == [[0, 0, 3, 1]]

    def test_inner_products_not_cosines(self):
        # The long first feature is the seed and brings in the second. At the third they sum to
        # -7 + 1; as unit vectors, to -0.61 + 0.71.
        features = features_of([1.0, 8.0], [1.0, 0.0], [1.0, -1.0])
        units = torch.nn.functional.normalize(features, dim=-1)
        assert lost_boxes(features, (1, 3)).tolist() == [[0, 0, 2, 1]]
        assert lost_boxes(units, (1, 3)).tolist() == [[0, 0, 3, 1]]

    def test_all_zero_features_give_the_first_patch(self):
        assert lost_boxes(torch.zeros(2, 6, 5), (2, 3)).tolist() == [[0, 0, 1, 1]] * 2

    def test_a_seed_without_features_is_the_object(self):
        features = features_of([1.0], [0.0], [1.0], [1.0])
        assert lost_boxes(features, (2, 2)).tolist() == [[1, 0, 2, 1]]

    def test_one_patch(self):
        assert lost_boxes(torch.randn(3, 1, 4), (1, 1)).tolist() == [[0, 0, 1, 1]] * 3


@st.composite
def batches(draw):
    """Integer features with many ties and zeros, of any small grid."""
    grid = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    shape = (draw(st.integers(1, 3)), grid[0] * grid[1], draw(st.integers(1, 3)))
    features = draw(hnp.arrays(np.int8, shape, elements=st.integers(-2, 2)))
    return torch.from_numpy(features.astype(np.float32)), grid


def without_zero_seed(features, grid, k_patches):
    """The literal version, with our rule for the one case that the protocol leaves open."""
    boxes = []
    for image in features:
        degrees = patch_degrees(image[None])[0]
        seed = int(degrees.argmin())
        row, column = divmod(seed, grid[1])
        alone = [column, row, column + 1, row + 1]
        boxes.append(alone if not image[seed].any() else lost_box(image.tolist(), grid, k_patches))
    return boxes


@settings(deadline=None)
@given(batches(), st.integers(1, 30))
def test_equals_the_literal_version_on_ties_and_zeros(batch, k_patches):
    features, grid = batch
    expected = without_zero_seed(features, grid, k_patches)
    assert lost_boxes(features, grid, k_patches).tolist() == expected


@pytest.mark.parametrize(
    ("k_patches", "patches", "count"),
    [
        (100, 144, 100),
        (7.0, 144, 7),
        (1, 144, 1),
        (0.1, 144, 14),
        (0.1, 1000, 100),
        (0.999, 10, 10),
        (0.001, 10, 1),
    ],
)
def test_a_number_of_patches_or_a_share_of_them(k_patches, patches, count):
    assert candidate_count(k_patches, patches) == count


def test_a_share_is_of_each_image_s_own_grid():
    rng = np.random.default_rng(0)
    for grid, count in (((4, 5), 5), ((8, 10), 20)):
        features = torch.from_numpy(rng.normal(size=(3, grid[0] * grid[1], 6))).float()
        got = lost_boxes(features, grid, 0.25)
        assert got.tolist() == literal_boxes(features, grid, count)


@pytest.mark.parametrize("grid", [(7, 9), (4, 16), (11, 5)])
@pytest.mark.parametrize("k_patches", [1, 10, 25, 100])
def test_equals_the_literal_version_on_random_features(grid, k_patches):
    rng = np.random.default_rng(grid[0] * 1000 + k_patches)
    steps = rng.integers(-31, 32, (10, grid[0] * grid[1], 8)) + rng.integers(-8, 12, (10, 1, 8))
    features = torch.from_numpy(steps.clip(-31, 31).astype(np.float32) / 8)
    got = lost_boxes(features, grid, k_patches)
    assert got.tolist() == literal_boxes(features, grid, k_patches)
    assert len({tuple(box) for box in got.tolist()}) > 1


def test_equals_the_literal_version_on_gaussian_features():
    """Rounding could only tell where a sum lies within 1e-5 of zero; with this seed none does."""
    features = torch.randn(20, 48, 16, generator=torch.Generator().manual_seed(0)) + 0.3
    exact = literal_boxes(features.double(), (6, 8), 20)
    assert lost_boxes(features, (6, 8), 20).tolist() == exact


def test_a_batch_equals_its_images_one_by_one():
    features = torch.randn(8, 60, 12, generator=torch.Generator().manual_seed(1))
    together = lost_masks(features, (6, 10), 15)
    for image, mask in zip(features, together, strict=True):
        np.testing.assert_array_equal(lost_masks(image[None], (6, 10), 15)[0], mask)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_equals_cpu():
    """Exact features again, so that the order of summation cannot matter."""
    features = torch.randint(-31, 32, (16, 400, 8), generator=torch.Generator().manual_seed(2)) / 8
    on_cpu = lost_masks(features, (20, 20))
    np.testing.assert_array_equal(lost_masks(features.cuda(), (20, 20)), on_cpu)
