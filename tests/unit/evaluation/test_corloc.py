"""CorLoc against values worked by hand, a slow literal version, and properties of IoU."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbr.evaluation.corloc import aligned_iou, best_ious, union_box

coordinate = st.integers(0, 50)


@st.composite
def boxes(draw):
    x, y, width, height = (draw(coordinate) for _ in range(4))
    return [x, y, x + width, y + height]


def slow_iou(a, b):
    """Literal intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    intersection = width * height if width > 0 and height > 0 else 0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection
    return intersection / union if union else 0.0


def iou(a, b):
    return aligned_iou(np.array([a]), np.array([b]))[0]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10], 1.0),
        ([0, 0, 10, 10], [0, 0, 10, 5], 0.5),
        ([0, 0, 10, 10], [5, 5, 15, 15], 25 / 175),
        ([0, 0, 10, 10], [10, 0, 20, 10], 0.0),  # they touch
        ([0, 0, 10, 10], [20, 20, 30, 30], 0.0),
        ([0, 0, 10, 10], [2, 2, 4, 4], 4 / 100),  # one inside the other
        ([3, 3, 3, 3], [3, 3, 3, 3], 0.0),  # both empty
    ],
)
def test_iou_by_hand(a, b, expected):
    assert iou(a, b) == pytest.approx(expected)


@given(boxes(), boxes())
def test_iou_is_the_slow_one_symmetric_and_bounded(a, b):
    assert iou(a, b) == pytest.approx(slow_iou(a, b))
    assert iou(a, b) == iou(b, a)
    assert 0 <= iou(a, b) <= 1


@given(boxes(), boxes(), st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9))
def test_iou_ignores_shift_and_scale(a, b, dx, dy, scale):
    shift = np.array([dx, dy, dx, dy])
    moved = aligned_iou((np.array([a]) + shift) * scale, (np.array([b]) + shift) * scale)
    assert moved[0] == pytest.approx(iou(a, b))


@given(
    st.dictionaries(st.integers(0, 5), boxes()),
    st.dictionaries(st.integers(0, 5), st.lists(boxes(), max_size=4), min_size=1),
)
def test_best_ious_match_a_loop_over_images(predictions, truths):
    truths = {i: np.array(found, dtype=float).reshape(-1, 4) for i, found in truths.items()}
    expected = [
        max((slow_iou(predictions[i], truth) for truth in found), default=0.0)
        if i in predictions
        else 0.0
        for i, found in truths.items()
    ]
    np.testing.assert_allclose(best_ious(predictions, truths), expected)


def test_images_without_prediction_or_truth_are_misses():
    whole = [0.0, 0.0, 10.0, 10.0]
    truths = {1: np.array([whole]), 2: np.zeros((0, 4)), 3: np.array([whole])}
    assert best_ious({1: whole, 2: whole}, truths).tolist() == [1.0, 0.0, 0.0]


def test_best_of_several_truths():
    truths = {7: np.array([[0, 0, 2, 2], [0, 0, 10, 8], [50, 50, 60, 60]])}
    assert best_ious({7: [0, 0, 10, 10]}, truths).tolist() == [0.8]


def test_the_box_around_boxes():
    assert union_box(np.array([[3.0, 2, 5, 9], [1, 4, 4, 6]])).tolist() == [1, 2, 5, 9]
