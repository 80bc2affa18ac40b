"""DDT against an explicit decomposition, and DDT+ by hand."""

import numpy as np
import torch

from bbr.baselines.ddt import border_mean, ddt_boxes, principal_direction, project


def test_direction_is_the_leading_singular_vector():
    rows = np.random.default_rng(0).normal(size=(200, 6)) * [1, 2, 3, 4, 5, 9] + 10
    mean = rows.mean(axis=0)
    covariance = torch.from_numpy((rows - mean).T @ (rows - mean) / len(rows))
    found = principal_direction(covariance).numpy()
    expected = np.linalg.svd(rows - mean)[2][0]
    # float64 throughout, and a wide gap: equal but for the sign.
    np.testing.assert_allclose(abs(found @ expected), 1, atol=1e-12)
    key = torch.from_numpy(rows).float().view(2, 100, 6)
    projected = project(key, torch.from_numpy(mean), torch.from_numpy(found))
    literal = [[(x - mean) @ found for x in image] for image in key.double().numpy()]
    np.testing.assert_allclose(projected, literal, atol=1e-9)


def test_border_mean():
    plane = torch.tensor([[1.0, 1, 1, 1, 90, 1, 1, 1, 9]])
    assert border_mean(plane, (3, 3)).tolist() == [2.0]
    assert border_mean(torch.ones(2, 2), (1, 2)).tolist() == [1, 1]


LAST = torch.tensor([[1.0, -1, 1, 1], [-1.0, -1, 1, 1]]).view(1, 8)


def test_largest_positive_component():
    assert ddt_boxes(LAST, (2, 4)).tolist() == [[2, 0, 4, 2]]


def test_plus_keeps_what_the_second_layer_agrees_on():
    second = torch.tensor([[1.0, 1, 1, -1], [1.0, 1, 1, -1]]).view(1, 8)
    assert ddt_boxes(LAST, (2, 4), second).tolist() == [[2, 0, 3, 2]]
    assert ddt_boxes(LAST, (2, 4), -second).tolist() == [[3, 0, 4, 2]]
    assert ddt_boxes(LAST, (2, 4), -torch.ones(1, 8)).tolist() == [[2, 0, 4, 2]]


def test_nothing_in_common_is_the_whole_image():
    planes = torch.stack((-torch.ones(8), LAST[0], torch.zeros(8)))
    assert ddt_boxes(planes, (2, 4)).tolist() == [[0, 0, 4, 2], [2, 0, 4, 2], [0, 0, 4, 2]]
