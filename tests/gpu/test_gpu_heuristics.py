"""Boxes of LOST, DINO-seg, TokenCut, MaskCut and MOST: those of the GPU are those of the CPU."""

import numpy as np
import pytest
import torch
from gpu_device import DEVICE, ON_GPU
from literal import tokencut_box

from bbr.heuristics.dino_seg import dino_seg_boxes
from bbr.heuristics.lost import lost_boxes
from bbr.heuristics.maskcut import maskcut_boxes
from bbr.heuristics.most import most_boxes
from bbr.heuristics.tokencut import tokencut_boxes

pytestmark = ON_GPU

GRIDS = [(1, 1), (7, 9), (19, 19), (24, 32)]
THRESHOLD, EPSILON = 0.2, 1e-5
# A little more than float32 rounds off in products of 24 numbers.
ROUNDING = 1e-6


def smooth(grid, count=8, dim=24):
    """Centred features that are alike among neighbours, (B, N, d)."""
    noise = torch.randn(count, *grid, dim, generator=torch.Generator().manual_seed(0))
    features = (noise.cumsum(dim=1) + noise.cumsum(dim=2)).flatten(1, 2)
    return features - features.mean(dim=1, keepdim=True) + 0.01 * noise.flatten(1, 2)


def stable(boxes, features, grid):
    """Which images have the same box whatever way float32 rounds: (B,) bool, and the boxes.

    Where it would change, a degree or a threshold is so near a tie that either box is right.
    """
    expected = boxes(features, grid)
    same = np.ones(len(features), dtype=bool)
    for seed in range(4):
        noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(seed))
        same &= (boxes(features * (1 + ROUNDING * noise), grid) == expected).all(axis=1)
    return same, expected


@pytest.mark.parametrize("grid", GRIDS)
def test_lost_of_whole_numbers_is_exact(grid):
    """Sums of products of small integers have no rounding in any order, ties included."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randint(-3, 4, (8, grid[0] * grid[1], 24), generator=generator).float()
    expected = lost_boxes(features, grid)
    assert lost_boxes(features.to(DEVICE), grid).tolist() == expected.tolist()


@pytest.mark.parametrize("boxes", [lost_boxes, tokencut_boxes, maskcut_boxes, most_boxes])
@pytest.mark.parametrize("grid", GRIDS[1:])
def test_boxes_that_do_not_hang_on_rounding_are_equal(boxes, grid):
    features = smooth(grid)
    same, expected = stable(boxes, features, grid)
    assert same.sum() >= len(same) // 2
    found = boxes(features.to(DEVICE), grid)
    assert found[same].tolist() == expected[same].tolist()


@pytest.mark.parametrize("grid", [(9, 12), (16, 16)])  # dense, and by Lanczos
def test_tokencut_is_the_plain_version(grid):
    features = smooth(grid, count=4)
    found = tokencut_boxes(features.to(DEVICE), grid, THRESHOLD, EPSILON)
    same, _ = stable(tokencut_boxes, features, grid)
    compared = 0
    for image, box, certain in zip(features.numpy(), found.tolist(), same, strict=True):
        expected = tokencut_box(image, grid, THRESHOLD, EPSILON)
        if certain and expected is not None:
            assert box == expected
            compared += 1
    assert compared


def test_tokencut_without_any_structure():
    """All alike, none alike, all zero: one box in the image each, as on the CPU."""
    grid = (16, 16)
    alike = torch.ones(1, 256, 24)
    none = torch.eye(256).unsqueeze(0)
    for features in (alike, none, torch.zeros(1, 256, 24)):
        (box,) = tokencut_boxes(features.to(DEVICE), grid).tolist()
        assert 0 <= box[0] < box[2] <= 16
        assert 0 <= box[1] < box[3] <= 16


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("levels", [4, 2**20])
def test_dino_seg(grid, levels):
    """The shares are summed in float64: only entries that are equal could change places, and the
    sort is stable."""
    generator = torch.Generator().manual_seed(2)
    attention = torch.randint(1, levels + 1, (8, grid[0] * grid[1]), generator=generator).float()
    expected = dino_seg_boxes(attention, grid)
    assert dino_seg_boxes(attention.to(DEVICE), grid).tolist() == expected.tolist()
