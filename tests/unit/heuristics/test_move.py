"""MOVE's boxes, against components found pixel by pixel."""

import numpy as np
import pytest
import torch

from bbr.backbones.feature_maps import FeatureMaps
from bbr.heuristics.move import mask_separation, move_box, move_object
from bbr.heuristics.registry import heuristic_options, propose_boxes, propose_training_boxes


def mask_of(*rows):
    """Rows of # and . as a mask."""
    return np.array([[0.9 if cell == "#" else 0.1 for cell in row] for row in rows])


def literal_box(mask, min_side, last=False):
    """docs/protocol.md#move, by flood fill over 8 neighbours, from the first pixel on.

    With `last` it is the published code's choice, on masks whose components begin in rows of their
    own, and so have one order, whoever numbers them.
    """
    height, width = mask.shape
    inside = {(y, x) for y in range(height) for x in range(width) if mask[y, x] > 0.5}
    found = []
    while inside:
        waiting, cells = [min(inside)], []
        inside -= set(waiting)
        while waiting:
            y, x = waiting.pop()
            cells.append((y, x))
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & inside
            inside -= near
            waiting += near
        rows, columns = [y for y, _ in cells], [x for _, x in cells]
        box = (min(columns), min(rows), max(columns) + 1, max(rows) + 1)
        area = (box[2] - box[0]) * (box[3] - box[1])
        least = (min_side * height) ** 2
        if area > least or (area == least and not last):
            found.append((-area, box[1], box[0], box))
    if last:
        largest = [box for area, _, _, box in found if area == min(found)[0]]
        return largest[-1] if found else (0, 0, height, height)
    return min(found)[-1] if found else (0, 0, width, height)


def test_the_largest_box_wins_and_not_the_most_pixels():
    mask = mask_of("###...#", "###..#.", "....#..", "...#...", "..#....")
    # Six pixels in 3 x 2 against five on a diagonal, whose box is 5 x 5.
    assert move_box(mask, 0.05) == (2, 0, 7, 5)


def test_the_object_is_the_component_of_the_box():
    mask = mask_of("###...#", "###..#.", "....#..", "...#...", "..#....")
    assert move_object(mask, 0.05).sum() == 5
    assert move_object(np.zeros((4, 6)), 0.05).all()  # as the box, which is the whole image
    twice = mask_of("##..##")
    assert move_object(twice, 0.05, last=True).tolist() == [[False] * 4 + [True] * 2]


def test_inclusive_edges_are_those_of_the_published_code():
    mask = mask_of("....", ".##.", "....")
    assert move_box(mask, 0.05) == (1, 1, 3, 2)
    assert move_box(mask, 0.05, inclusive=True) == (1, 1, 2, 1)


def test_small_boxes_are_ignored_and_nothing_is_the_whole_image():
    mask = np.zeros((40, 60))
    mask[5, 5] = 1
    assert move_box(mask, 0.05) == (0, 0, 60, 40)  # 1 pixel is less than (0.05 · 40)² = 4
    assert move_box(mask, 0.025) == (5, 5, 6, 6)  # and just (0.025 · 40)² = 1
    assert move_box(np.zeros((40, 60)), 0.05, inclusive=True) == (0, 0, 59, 39)


def test_a_half_is_background():
    assert move_box(np.full((4, 4), 0.5)) == (0, 0, 4, 4)
    mask = np.full((4, 4), 0.5)
    mask[1, 2] = np.nextafter(0.5, 1)
    assert move_box(mask, 0.05) == (2, 1, 3, 2)


@pytest.mark.parametrize("seed", range(20))
def test_as_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 14, 2)) * rng.uniform(0.55, 0.9)
    least = rng.choice([0.05, 0.1, 0.4])
    assert move_box(mask, least) == literal_box(mask, least)


@pytest.mark.parametrize("seed", range(20))
def test_the_published_choice_as_pixel_by_pixel(seed):
    """Rectangles of one size, a few rows apart, among them larger ones: ties are the rule."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((40, 30))
    for top in range(0, 40, 5):
        height, width = rng.integers(1, 4), rng.integers(2, 4)
        left = rng.integers(0, 27)
        mask[top : top + height, left : left + width] = 1
    for least in (0.05, 0.075, 0.5):
        assert move_box(mask, least, last=True) == literal_box(mask, least, last=True)


def test_the_published_choice_by_hand():
    """The last of two equal boxes; more than the least area; a square where there is none."""
    mask = mask_of("##...", ".....", "...##", ".....", "#....")
    assert move_box(mask, 0.1) == (0, 0, 2, 1)
    assert move_box(mask, 0.1, last=True) == (3, 2, 5, 3)
    assert move_box(mask, 0.1, inclusive=True, last=True) == (3, 2, 4, 2)
    mask = np.zeros((40, 60))
    mask[5:7, 5:7] = 1  # 4 pixels, just (0.05 · 40)²
    assert move_box(mask, 0.05) == (5, 5, 7, 7)
    assert move_box(mask, 0.05, last=True) == (0, 0, 40, 40)
    options = heuristic_options("move", {"component": "last"})
    assert propose_boxes(batch_of([mask], [(40, 60)]), "move", options).tolist() == [[0, 0, 40, 40]]


def batch_of(masks, sizes):
    return FeatureMaps(
        image_sizes=np.array(sizes),
        grid=(1, 1),
        key=torch.zeros(len(masks), 1, 1),
        cls_attention=None,
        patch_size=8.0,
        image_masks=masks,
    )


def test_boxes_are_in_pixels_of_the_image():
    masks = [mask_of("....", ".##.", "...."), mask_of("..", ".#")]
    boxes = propose_boxes(
        batch_of(masks, [(3, 4), (20, 30)]), "move", heuristic_options("move", {})
    )
    # The second mask is a tenth as high as its image and a fifteenth as wide.
    assert boxes.tolist() == [[1, 1, 3, 2], [15, 10, 30, 20]]


def test_boxes_while_training_are_fractions():
    mask = torch.zeros(1, 8, 16)
    mask[0, 2:4, 4:12] = 1
    options = heuristic_options("move", {})
    boxes = propose_training_boxes(
        FeatureMaps(torch.zeros(1, 2, 3), (1, 2), mask=mask), "move", options
    )
    assert boxes.tolist() == [[0.25, 0.25, 0.75, 0.5]]


def test_separation_of_a_box_by_hand():
    mask = np.zeros((4, 4))
    mask[1:3, 1:3] = 0.8
    mask[0, 0] = 0.6
    # Inside 0.8, outside 0.6 over twelve pixels.
    assert mask_separation(mask, np.array([1, 1, 3, 3])) == pytest.approx(0.8 - 0.6 / 12)
    assert mask_separation(mask, np.array([0, 0, 4, 4])) == pytest.approx(mask.mean())
    assert mask_separation(1 - mask, np.array([1, 1, 3, 3])) == 0
