"""Measures of masks by hand."""

import numpy as np
import pytest

from bbr.evaluation.mask_metrics import best_mask_iou, mask_iou, mean_saliency, saliency


def rows(*texts):
    return np.array([[mark == "#" for mark in text] for text in texts])


def test_iou_by_hand():
    assert mask_iou(rows("##..", "##.."), rows(".##.", ".##.")) == 2 / 6
    assert mask_iou(rows("...."), rows("....")) == 1
    objects = [rows("#...", "...."), rows("##..", "#...")]
    assert best_mask_iou(rows("##..", "##.."), objects) == 3 / 4
    assert best_mask_iou(None, objects) == best_mask_iou(rows("####", "...."), []) == 0


def test_saliency_by_hand():
    """Of eight pixels four are taken, three are there, and two are both."""
    found = saliency(rows("####", "...."), rows("..##", "..#."))
    assert found.iou == 2 / 5
    assert found.accuracy == 5 / 8
    precision, recall = 2 / 4, 2 / 3
    assert found.f_beta == pytest.approx(1.3 * precision * recall / (0.3 * precision + recall))
    nothing = saliency(rows("....", "...."), rows("#...", "...."))
    assert (nothing.iou, nothing.accuracy, nothing.f_beta) == (0, 7 / 8, 0)
    means = mean_saliency([found, nothing])
    assert means["iou"] == pytest.approx(20)
    assert means["accuracy"] == pytest.approx(75)
