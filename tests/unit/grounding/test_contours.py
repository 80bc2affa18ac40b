"""Boxes from heatmaps: worked by hand, on adversarial maps, and against torchvision's NMS."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import nms

from bbr.grounding.contours import ContourOptions, _suppress, heatmap_boxes

EVALUATION = ContourOptions("evaluation")
RELEASE = ContourOptions("evaluation", "xywh")


def canvas(*patches, size=(20, 20)):
    """A map of zeros with ((y1, y2, x1, x2), value) patches."""
    heatmap = np.zeros(size, dtype=np.float32)
    for (y1, y2, x1, x2), value in patches:
        heatmap[y1:y2, x1:x2] = value
    return heatmap


def test_one_region():
    boxes, scores = heatmap_boxes(canvas(((2, 8, 3, 10), 0.8)))
    assert boxes.tolist() == [[3, 2, 10, 8]]
    assert scores == pytest.approx([0.8])


def test_the_two_thresholds():
    """Of a region at 0.4 with a core at 1.0 half of the maximum keeps the core, and so does 0.5."""
    heatmap = canvas(((2, 12, 2, 12), 0.4), ((4, 10, 4, 10), 1.0))
    for options in (ContourOptions(), EVALUATION):
        assert heatmap_boxes(heatmap, options)[0].tolist() == [[4, 4, 10, 10]]
    # at half the brightness only the relative threshold still finds something
    assert heatmap_boxes(heatmap * 0.45, EVALUATION)[0].shape == (0, 4)
    boxes, scores = heatmap_boxes(heatmap * 0.45)
    assert boxes.tolist() == [[4, 4, 10, 10]]
    assert scores == pytest.approx([0.45])


def test_thresholds_are_inclusive():
    heatmap = canvas(((0, 10, 0, 10), 0.5), ((0, 5, 0, 10), 1.0))
    assert heatmap_boxes(heatmap)[0].tolist() == [[0, 0, 10, 10]]
    assert heatmap_boxes(heatmap, EVALUATION)[0].tolist() == [[0, 0, 10, 10]]


def test_least_area_is_a_twentieth_of_the_map():
    twenty, nineteen = ((0, 4, 0, 5), 1.0), ((10, 11, 0, 19), 1.0)
    assert heatmap_boxes(canvas(twenty, nineteen))[0].tolist() == [[0, 0, 5, 4]]


def test_score_is_the_mean_of_what_the_threshold_left():
    """An L in a box of 6 × 6: 11 of 36 pixels; a second region filled by 0.6 comes first."""
    heatmap = canvas(((0, 6, 0, 1), 1.0), ((5, 6, 0, 6), 1.0), ((10, 16, 10, 16), 0.6))
    boxes, scores = heatmap_boxes(heatmap)
    assert boxes.tolist() == [[10, 10, 16, 16], [0, 0, 6, 6]]
    assert scores == pytest.approx([0.6, 11 / 36])
    # as 0 and 1, the L is below half of the other's score and dropped
    assert heatmap_boxes(heatmap, EVALUATION)[0].tolist() == [[10, 10, 16, 16]]


def test_a_hole_has_a_border_too_and_is_suppressed():
    """The ring's box has mean 84 / 100 and comes first; the hole's box lies inside it."""
    heatmap = canvas(((5, 15, 5, 15), 1.0), ((8, 12, 8, 12), 0.0))
    assert heatmap_boxes(heatmap)[0].tolist() == [[5, 5, 15, 15]]


def test_a_box_in_a_hole_overlaps_the_ring_by_too_much():
    """The block fills its box, so that it comes first; its IoU with the ring's is 16 / 196."""
    heatmap = canvas(((0, 14, 0, 14), 1.0), ((1, 13, 1, 13), 0.0), ((4, 9, 4, 9), 1.0))
    assert heatmap_boxes(heatmap, EVALUATION)[0].tolist() == [[4, 4, 9, 9]]


def test_release_convention_takes_sizes_for_corners():
    """Boxes (6, 9, 14, 13) and (2, 9, 7, 18) have IoU 4 / 73 > 0.05, so that the second goes.

    Read as corners, (6, 9, 8, 4) and (2, 9, 5, 9) do not meet: the release keeps both.
    """
    upper = ((9, 10, 6, 14), 1.0), ((9, 13, 13, 14), 1.0)  # 11 of 32 pixels
    lower = ((9, 18, 2, 3), 1.0), ((17, 18, 2, 7), 1.0)  # 13 of 45
    heatmap = canvas(*upper, *lower)
    assert heatmap_boxes(heatmap, EVALUATION)[0].tolist() == [[6, 9, 14, 13]]
    assert heatmap_boxes(heatmap, RELEASE)[0].tolist() == [[6, 9, 14, 13], [2, 9, 7, 18]]


@given(
    st.lists(st.tuples(*[st.integers(-3, 12)] * 4).map(lambda c: [float(v) for v in c]), max_size=8)
)
@settings(max_examples=200, deadline=None)
def test_suppression_is_that_of_torchvision(corners):
    boxes = np.array(corners, dtype=np.float32).reshape(-1, 4)
    scores = torch.arange(len(boxes), 0, -1.0)
    assert _suppress(boxes) == nms(torch.from_numpy(boxes), scores, 0.05).tolist()


@pytest.mark.parametrize("options", [ContourOptions(), EVALUATION, RELEASE])
@pytest.mark.parametrize(
    "heatmap",
    [
        np.zeros((20, 20)),
        np.full((20, 20), np.nan),
        np.full((20, 20), -1.0),
        np.full((20, 20), np.inf),
        canvas(((7, 8, 7, 8), 1.0), size=(40, 40)),
        np.zeros((0, 0)),
    ],
    ids=["zeros", "nan", "negative", "infinite", "one hot pixel", "empty"],
)
def test_maps_without_a_box(heatmap, options):
    boxes, scores = heatmap_boxes(heatmap, options)
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))
    assert boxes.dtype == scores.dtype == np.float32


def test_a_constant_map_is_one_box():
    for value, options, score in ((0.7, EVALUATION, 1.0), (0.7, None, 0.7), (0.01, None, 0.01)):
        boxes, scores = heatmap_boxes(np.full((9, 12), value, np.float32), options)
        assert boxes.tolist() == [[0, 0, 12, 9]]
        assert scores == pytest.approx([score])
    assert len(heatmap_boxes(np.full((9, 12), 0.4), EVALUATION)[0]) == 0


def test_one_pixel_of_a_tiny_map():
    assert heatmap_boxes(canvas(((1, 2, 1, 2), 1.0), size=(4, 4)))[0].tolist() == [[1, 1, 2, 2]]


def test_nan_is_no_evidence():
    heatmap = canvas(((2, 8, 3, 10), 0.8))
    heatmap[0], heatmap[4, 5] = np.nan, np.inf
    boxes, scores = heatmap_boxes(heatmap)
    assert boxes.tolist() == [[3, 2, 10, 8]]
    assert scores == pytest.approx([0.8 * 41 / 42])


def test_two_equal_peaks_are_both_kept_in_a_fixed_order():
    """Equal scores: the larger first, then the upper, then the left."""
    heatmap = canvas(((12, 18, 1, 7), 1.0), ((2, 8, 12, 18), 1.0), ((2, 8, 1, 7), 1.0))
    heatmap[12:19, 10:18] = 1.0
    for options in (ContourOptions(), EVALUATION):
        assert heatmap_boxes(heatmap, options)[0].tolist() == [
            [10, 12, 18, 19],
            [1, 2, 7, 8],
            [12, 2, 18, 8],
            [1, 12, 7, 18],
        ]


def test_regions_at_every_border():
    heatmap = canvas(((0, 5, 0, 6), 1.0), ((15, 20, 13, 20), 1.0))
    assert heatmap_boxes(heatmap)[0].tolist() == [[13, 15, 20, 20], [0, 0, 6, 5]]


def test_ten_thousand_components():
    """A grid of lone pixels: each far below the least area."""
    heatmap = np.zeros((304, 304), np.float32)
    heatmap[::3, ::3] = 1.0  # 102 × 102
    assert len(heatmap_boxes(heatmap)[0]) == 0
    heatmap[98:202, 98:202] = 0.0  # pixels that touch by a corner are of one region
    heatmap[100:200, 100:200] = 1.0
    assert heatmap_boxes(heatmap)[0].tolist() == [[100, 100, 200, 200]]


def test_nested_rings_leave_boxes_that_do_not_overlap():
    heatmap = np.zeros((101, 101), np.float32)
    for edge in range(0, 50, 2):
        heatmap[edge : 101 - edge, edge : 101 - edge] = (edge // 2) % 2
    boxes, _ = heatmap_boxes(heatmap)
    assert len(boxes) == 1


def test_unknown_options():
    with pytest.raises(ValueError, match="mode"):
        ContourOptions("train")
    with pytest.raises(ValueError, match="nms_boxes"):
        ContourOptions(nms_boxes="cxcywh")
