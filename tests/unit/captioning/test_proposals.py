"""Regions to describe, against versions written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from bbr.captioning.proposals import (
    ProposalOptions,
    adjoining_windows,
    propose_regions,
    sliding_windows,
    stand_ins,
)
from bbr.data.loading import resize


def literal_windows(height: int, width: int, divisor: int, stride: float) -> set[tuple[int, ...]]:
    """Every window whose corner is a whole number of steps away from the image's, or at its end."""
    tall, wide = height // divisor, width // divisor
    found = set()
    for y in range(height - tall + 1):
        for x in range(width - wide + 1):
            down = y % max(1, round(stride * tall)) == 0 or y == height - tall
            right = x % max(1, round(stride * wide)) == 0 or x == width - wide
            if down and right:
                found.add((x, y, x + wide, y + tall))
    return found


@pytest.mark.parametrize("shape", [(24, 24), (25, 37), (224, 224), (7, 5)])
@pytest.mark.parametrize("divisor", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [0.5, 1, 0.3])
def test_windows(shape: tuple[int, int], divisor: int, stride: float) -> None:
    windows = [tuple(window) for window in sliding_windows(*shape, divisor, stride).tolist()]
    assert len(windows) == len(set(windows))
    assert set(windows) == literal_windows(*shape, divisor, stride)
    assert windows == sorted(windows, key=lambda w: (w[1], w[0]))


def nothing(image: np.ndarray) -> np.ndarray:
    return np.zeros((0, 4), dtype=np.int64)


def literal_regions(found: list[list[int]], side: int, options: ProposalOptions) -> list[list[int]]:
    kept: list[list[int]] = []
    windows = [
        list(window)
        for divisor in options.windows
        for window in sorted(
            literal_windows(side, side, divisor, options.stride), key=lambda w: (w[1], w[0])
        )
    ]
    for x1, y1, x2, y2 in [*found, *windows]:
        large = (x2 - x1) * (y2 - y1) > options.min_area * side * side
        if large and [x1, y1, x2, y2] not in kept:
            kept.append([x1, y1, x2, y2])
    return kept


def test_regions_are_those_of_the_search_and_then_windows() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 60, (200, 2, 2))
    boxes = np.concatenate((corners.min(1), corners.max(1) + 1), axis=1)
    boxes = np.concatenate((boxes, boxes[::-1], [[0, 0, 30, 30]]))  # some twice, one a window
    options = ProposalOptions(min_area=0.1, windows=(2, 3, 4), stride=0.5)
    regions = propose_regions(np.zeros((60, 60, 3), np.uint8), options, lambda image: boxes)
    assert regions.tolist() == literal_regions(boxes.tolist(), 60, options)
    areas = (regions[:, 2:] - regions[:, :2]).prod(1)
    assert areas.min() > 360


def test_a_quarter_of_the_side_is_too_small_at_a_tenth_of_the_area() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    sixteenth = ProposalOptions(windows=(4,))
    assert len(propose_regions(image, sixteenth, nothing)) == 0
    assert len(propose_regions(image, ProposalOptions(0.05, (4,)), nothing)) == 49


def test_no_proposal() -> None:
    image = np.full((40, 30, 3), 127, np.uint8)
    regions = propose_regions(image, ProposalOptions(windows=()), nothing)
    assert regions.shape == (0, 4)
    assert stand_ins(regions, 0.5).tolist() == []


def test_selective_search_is_the_default() -> None:
    rng = np.random.default_rng(1)
    image = np.kron(rng.integers(0, 255, (4, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    options = ProposalOptions(windows=())
    first, again = (propose_regions(image, options) for _ in range(2))
    assert len(first) > 1
    np.testing.assert_array_equal(first, again)


def literal_stand_ins(boxes: list[list[int]], least: float) -> list[int]:
    def iou(a: list[int], b: list[int]) -> float:
        pixels = [
            {(x, y) for x in range(x1, x2) for y in range(y1, y2)} for x1, y1, x2, y2 in (a, b)
        ]
        return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])

    chosen: list[int] = []
    owners = []
    for box in boxes:
        alike = [i for i in chosen if iou(boxes[i], box) >= least]
        if not alike:
            chosen.append(len(owners))
        owners.append(alike[0] if alike else len(owners))
    return owners


def test_regions_that_are_nearly_the_same_share_a_caption() -> None:
    rng = np.random.default_rng(2)
    corners = rng.integers(0, 8, (40, 2, 2))
    boxes = np.concatenate((corners.min(1), corners.max(1) + 1), axis=1)
    for least in (0.5, 0.75, 0.9):
        owners = stand_ins(boxes, least)
        assert owners.tolist() == literal_stand_ins(boxes.tolist(), least)
        assert len(set(owners.tolist())) < len(boxes)
    assert stand_ins(boxes, None).tolist() == list(range(40))


WWBL = ProposalOptions(window_grid="adjoining", search_pixels="floats")


def test_adjoining_windows_are_thirteen() -> None:
    """Of 112 and of 75 pixels, the last cut off at the edge; those of a quarter fall out."""
    windows = propose_regions(np.zeros((224, 224, 3), dtype=np.uint8), WWBL, nothing).tolist()
    expected = []
    for side in (112, 75):
        for y in range(0, 224, side):
            for x in range(0, 224, side):
                expected.append([x, y, min(x + side, 224), min(y + side, 224)])
    assert windows == expected
    assert len(windows) == 13
    assert len(adjoining_windows(224, 224, 4)) == 16


@pytest.mark.parametrize(("picture", "kept"), [("astronaut", 149), ("coffee", 53), ("chelsea", 18)])
def test_selective_search_on_floats_keeps_what_wwbl_s_code_keeps(picture: str, kept: int) -> None:
    pixels = resize(getattr(data, picture)(), 224)
    alone = ProposalOptions(windows=(), search_pixels="floats")
    assert len(propose_regions(pixels, alone)) == kept
