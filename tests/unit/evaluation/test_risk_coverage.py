"""Curves by hand, and against the mean over all orders of ties."""

from itertools import permutations

import numpy as np
import pytest

from bbr.evaluation.risk_coverage import (
    NO_BOX,
    area,
    best_area,
    corloc_at,
    image_scores,
    risk_curve,
)


def test_by_hand():
    """Right, wrong, right, wrong by falling score, whatever the order they come in."""
    risks = risk_curve(np.array([0.2, 0.9, 0.1, 0.5]), np.array([1, 1, 0, 0]))
    assert risks == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert area(risks) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert corloc_at(risks, 0.75) == pytest.approx(200 / 3)
    assert corloc_at(risks, 0.01) == 100  # one image at least
    # Both right ones first: 0, 0, 1/3, 1/2.
    assert best_area(np.array([1, 1, 0, 0])) == pytest.approx(5 / 6 / 4)


def test_ties_are_the_mean_over_their_orders():
    scores, correct = np.array([3.0, 2.0, 2.0, 2.0, 1.0]), np.array([1, 1, 0, 0, 1])
    by_order = []
    for order in permutations((1, 2, 3)):
        wrong = 1 - correct[[0, *order, 4]]
        by_order.append(np.cumsum(wrong) / np.arange(1, 6))
    assert risk_curve(scores, correct) == pytest.approx(np.mean(by_order, axis=0))


def test_scores_that_say_nothing_have_one_risk():
    assert risk_curve(np.zeros(8), np.array([1, 0] * 4)) == pytest.approx([0.5] * 8)


def test_images_without_a_box_come_last():
    records = [{"image_id": 1, "score": 0.2}, {"image_id": 1, "score": 0.7}]
    scores = image_scores(records, [2, 1])
    assert scores.tolist() == [NO_BOX, 0.7]
    assert risk_curve(scores, np.array([0, 1])) == pytest.approx([0, 0.5])
