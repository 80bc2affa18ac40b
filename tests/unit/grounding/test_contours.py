"""Boxes from heatmaps: worked by hand, on adversarial maps, and against literal versions."""

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchvision.ops import nms

from bbr.grounding.contours import ContourOptions, _greys, _suppress, heatmap_boxes

MINMAX = ContourOptions()
PSEUDO = ContourOptions("pseudo", box_threshold="absolute")
EVALUATION = ContourOptions("evaluation", box_threshold="absolute")
RELEASE = ContourOptions("evaluation", "xywh")
COLOURS = ContourOptions("evaluation", "xywh", "cubehelix")


def canvas(*patches, size=(20, 20)):
    """A map of zeros with ((y1, y2, x1, x2), value) patches."""
    heatmap = np.zeros(size, dtype=np.float32)
    for (y1, y2, x1, x2), value in patches:
        heatmap[y1:y2, x1:x2] = value
    return heatmap


def test_one_region():
    boxes, scores = heatmap_boxes(canvas(((2, 8, 3, 10), 0.8)), PSEUDO)
    assert boxes.tolist() == [[3, 2, 10, 8]]
    assert scores == pytest.approx([0.8])


def test_the_two_thresholds():
    """Of a region at 0.4 with a core at 1.0 half of the maximum keeps the core, and so does 0.5."""
    heatmap = canvas(((2, 12, 2, 12), 0.4), ((4, 10, 4, 10), 1.0))
    for options in (MINMAX, PSEUDO, EVALUATION):
        assert heatmap_boxes(heatmap, options)[0].tolist() == [[4, 4, 10, 10]]
    # at half the brightness only the relative threshold still finds something
    assert heatmap_boxes(heatmap * 0.45, EVALUATION)[0].shape == (0, 4)
    for options, score in ((PSEUDO, 0.45), (MINMAX, 1.0)):
        boxes, scores = heatmap_boxes(heatmap * 0.45, options)
        assert boxes.tolist() == [[4, 4, 10, 10]]
        assert scores == pytest.approx([score])


def test_the_level_and_the_contrast_of_a_map_do_not_matter():
    """What 0.6 and 0.7 are told apart by is neither half of the maximum nor 0.5."""
    heatmap = canvas(((4, 10, 4, 10), 1.0))
    for options in (MINMAX, RELEASE):
        boxes, scores = heatmap_boxes(heatmap * 0.1 + 0.6, options)
        assert boxes.tolist() == [[4, 4, 10, 10]]
        assert scores == pytest.approx([1.0])
    for options in (PSEUDO, EVALUATION):
        assert heatmap_boxes(heatmap * 0.1 + 0.6, options)[0].tolist() == [[0, 0, 20, 20]]


def test_of_256_greys_the_upper_half_stays():
    """Grey 127, the whole part of half of the largest, goes; 128 stays."""
    for grey, edge in ((127, 5), (128, 10)):
        heatmap = canvas(((0, 10, 0, 10), grey / 255 + 1e-6), ((0, 5, 0, 10), 1.0))
        assert heatmap_boxes(heatmap)[0].tolist() == [[0, 0, 10, edge]]


def literal_greys(shares, coloured):
    """Greys of values that lie so far up their map's range, in matplotlib's colours or plain.

    A colour's grey is OpenCV's: weights in 32768ths, rounded.
    """
    if not coloured:
        return [[int(share * 255) for share in row] for row in shares]
    painted = matplotlib.colormaps["cubehelix"](np.array(shares))[..., :3].astype(np.float32) * 255
    return [
        [(9798 * int(r) + 19235 * int(g) + 3735 * int(b) + 16384) // 32768 for r, g, b in row]
        for row in painted
    ]


def literal_boxes(heatmap, xywh, coloured=False):
    """The released rule, pixel by pixel, with regions and holes by another library."""
    height, width = heatmap.shape
    values = [[float(v) for v in row] for row in heatmap]
    low, high = min(map(min, values)), max(map(max, values))
    if high == low:
        return []
    greys = literal_greys([[(v - low) / (high - low) for v in row] for row in values], coloured)
    half = int(0.5 * max(map(max, greys)))
    kept = np.array([[grey if grey > half else 0 for grey in row] for row in greys])
    regions, count = ndimage.label(kept > 0, structure=np.ones((3, 3)))
    around = [np.argwhere(regions == i + 1) for i in range(count)]
    # A hole is a 4-connected part of the rest that does not reach the border; the border that is
    # followed is that of the pixels around it.
    holes, count = ndimage.label(np.pad(kept == 0, 1, constant_values=True))
    for i in range(count):
        hole = np.argwhere(holes == i + 1) - 1
        if (-1, -1) not in set(map(tuple, hole.tolist())):
            around.append(np.concatenate((hole - 1, hole + 1)))
    boxes = set()
    for pixels in around:
        (y1, x1), (y2, x2) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
        boxes.add((x1, y1, x2 + 1, y2 + 1))
    scored = [
        (kept[y1:y2, x1:x2].sum() / 255 / ((y2 - y1) * (x2 - x1)), (x1, y1, x2, y2))
        for x1, y1, x2, y2 in boxes
        if (y2 - y1) * (x2 - x1) >= 0.05 * height * width
    ]
    scored.sort(key=lambda s: (-s[0], -(s[1][2] - s[1][0]) * (s[1][3] - s[1][1]), s[1][1], s[1][0]))
    if coloured:
        scored = [
            s for s in scored if (s[1][2] - s[1][0]) * (s[1][3] - s[1][1]) != height * width / 20
        ]
    corners = [
        (x1, y1, x2 - x1, y2 - y1) if xywh else (x1, y1, x2, y2) for _, (x1, y1, x2, y2) in scored
    ]
    scores = torch.tensor([score for score, _ in scored], dtype=torch.float64)
    chosen = nms(torch.tensor(corners, dtype=torch.float64).view(-1, 4), scores, 0.05).tolist()
    best = scored[0][0] if scored else 0
    return [
        scored[i]
        for i in chosen
        if scored[i][0] > best / 2 or (not coloured and scored[i][0] == best / 2)
    ]


@pytest.mark.parametrize("convention", ["xyxy", "xywh"])
@pytest.mark.parametrize("mode", ["pseudo", "evaluation"])
@pytest.mark.parametrize("threshold", ["minmax", "cubehelix"])
def test_the_released_rule_is_the_literal_one(threshold, mode, convention):
    rng = np.random.default_rng(0)
    options = ContourOptions(mode, convention, threshold)
    several = 0
    for trial in range(150):
        blurred = ndimage.gaussian_filter(rng.random((24, 32)), sigma=1 + trial % 4)
        heatmap = (blurred * rng.uniform(0.1, 1)).astype(np.float32)
        boxes, scores = heatmap_boxes(heatmap, options)
        literal = literal_boxes(heatmap, convention == "xywh", threshold == "cubehelix")
        assert boxes.tolist() == [list(box) for _, box in literal]
        np.testing.assert_allclose(scores, [score for score, _ in literal], rtol=1e-6)
        several += len(boxes) > 1
    assert several > 10


def test_the_released_colours_cut_at_half_of_the_range():
    """Colour 128 of 256 is the first whose grey is above 127; plain greys begin at 128 / 255."""
    for share, coloured, plain in ((0.4999, 5, 5), (0.5, 10, 5), (0.5019, 10, 5), (0.502, 10, 10)):
        heatmap = canvas(((0, 10, 0, 10), share), ((0, 5, 0, 10), 1.0)).astype(np.float64)
        heatmap[5:10, 0:10] = share  # in float64, as 0.5 is the limit itself
        assert heatmap_boxes(heatmap, COLOURS)[0].tolist() == [[0, 0, 10, coloured]]
        assert heatmap_boxes(heatmap)[0].tolist() == [[0, 0, 10, plain]]


def test_greys_of_the_released_colours():
    """256 values in steps of one colour, each beside the lowest and the highest."""
    shares = (np.arange(256) + 0.5) / 256
    (expected,) = literal_greys([shares], coloured=True)
    heatmap = np.concatenate(([0.0, 1.0], shares))[None]
    assert _greys(heatmap, coloured=True)[0].tolist() == [0, 255, *expected]


def test_the_released_limits_are_exclusive():
    """By the released code a twentieth of the map is too little, and half of the best score."""
    twenty, more = ((0, 4, 0, 5), 1.0), ((10, 13, 0, 7), 1.0)
    assert heatmap_boxes(canvas(twenty))[0].tolist() == [[0, 0, 5, 4]]
    assert heatmap_boxes(canvas(twenty), COLOURS)[0].tolist() == []
    assert heatmap_boxes(canvas(more), COLOURS)[0].tolist() == [[0, 10, 7, 13]]
    heatmap = canvas(((10, 20, 10, 20), 1.0))
    heatmap[0:6, 0:6] = np.indices((6, 6)).sum(0) % 2  # squares that touch at corners: half of them
    assert len(heatmap_boxes(heatmap)[0]) == 2
    assert heatmap_boxes(heatmap, COLOURS)[0].tolist() == [[10, 10, 20, 20]]


def test_thresholds_are_inclusive():
    heatmap = canvas(((0, 10, 0, 10), 0.5), ((0, 5, 0, 10), 1.0))
    assert heatmap_boxes(heatmap, PSEUDO)[0].tolist() == [[0, 0, 10, 10]]
    assert heatmap_boxes(heatmap, EVALUATION)[0].tolist() == [[0, 0, 10, 10]]


def test_least_area_is_a_twentieth_of_the_map():
    twenty, nineteen = ((0, 4, 0, 5), 1.0), ((10, 11, 0, 19), 1.0)
    assert heatmap_boxes(canvas(twenty, nineteen))[0].tolist() == [[0, 0, 5, 4]]


def test_score_is_the_mean_of_what_the_threshold_left():
    """An L in a box of 6 × 6: 11 of 36 pixels; a second region filled by 0.6 comes first."""
    heatmap = canvas(((0, 6, 0, 1), 1.0), ((5, 6, 0, 6), 1.0), ((10, 16, 10, 16), 0.6))
    for options, score in ((PSEUDO, 0.6), (MINMAX, 153 / 255)):
        boxes, scores = heatmap_boxes(heatmap, options)
        assert boxes.tolist() == [[10, 10, 16, 16], [0, 0, 6, 6]]
        assert scores == pytest.approx([score, 11 / 36])
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
@example([[0.0, 0.0, 1.0, 3.0], [0.0, 0.0, 5.0, 12.0]])  # an IoU of 0.05 as float32 has it
@settings(max_examples=200, deadline=None)
def test_suppression_is_that_of_torchvision(corners):
    boxes = np.array(corners, dtype=np.float32).reshape(-1, 4)
    scores = torch.arange(len(boxes), 0, -1.0)
    assert _suppress(boxes) == nms(torch.from_numpy(boxes), scores, 0.05).tolist()


@pytest.mark.parametrize("options", [MINMAX, PSEUDO, EVALUATION, RELEASE, COLOURS])
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
    """It has no range, and so no box by the released rule."""
    for value, options, score in ((0.7, EVALUATION, 1.0), (0.7, PSEUDO, 0.7), (0.01, PSEUDO, 0.01)):
        boxes, scores = heatmap_boxes(np.full((9, 12), value, np.float32), options)
        assert boxes.tolist() == [[0, 0, 12, 9]]
        assert scores == pytest.approx([score])
        assert len(heatmap_boxes(np.full((9, 12), value, np.float32))[0]) == 0
    assert len(heatmap_boxes(np.full((9, 12), 0.4), EVALUATION)[0]) == 0


def test_one_pixel_of_a_tiny_map():
    assert heatmap_boxes(canvas(((1, 2, 1, 2), 1.0), size=(4, 4)))[0].tolist() == [[1, 1, 2, 2]]


def test_nan_is_no_evidence():
    heatmap = canvas(((2, 8, 3, 10), 0.8))
    heatmap[0], heatmap[4, 5] = np.nan, np.inf
    for options, peak in ((PSEUDO, 0.8), (MINMAX, 1.0)):
        boxes, scores = heatmap_boxes(heatmap, options)
        assert boxes.tolist() == [[3, 2, 10, 8]]
        assert scores == pytest.approx([peak * 41 / 42])


def test_two_equal_peaks_are_both_kept_in_a_fixed_order():
    """Equal scores: the larger first, then the upper, then the left."""
    heatmap = canvas(((12, 18, 1, 7), 1.0), ((2, 8, 12, 18), 1.0), ((2, 8, 1, 7), 1.0))
    heatmap[12:19, 10:18] = 1.0
    for options in (MINMAX, PSEUDO, EVALUATION):
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
    with pytest.raises(ValueError, match="box_threshold"):
        ContourOptions(box_threshold="otsu")
