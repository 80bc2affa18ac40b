"""Saliency proposals and their graph by hand and against loops."""

import itertools
import math

import numpy as np
import pytest
import torch

from bbr.baselines.proposal_graph import Regions, match_scores, nearest_images, proposal_graph
from bbr.baselines.saliency_proposals import propose_regions, region_descriptors, saliency_peaks


def regions(count, seed):
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 0.6, (count, 2))
    boxes = np.concatenate((corners, corners + random.uniform(0.05, 0.4, (count, 2))), axis=1)
    descriptors = random.normal(size=(count, 7))
    return Regions(boxes, descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True))


def literal_bin(a, b):
    shift = [((b[i] + b[i + 2]) - (a[i] + a[i + 2])) / 2 for i in (0, 1)]
    size_a, size_b = (math.sqrt((c[2] - c[0]) * (c[3] - c[1])) for c in (a, b))
    octaves = min(max(math.log2(size_b / size_a), -2), 2)
    return (*(min(int((s + 1) / 2 * 9), 8) for s in shift), round(octaves))


def literal_scores(first, second):
    pairs = list(itertools.product(range(len(first.boxes)), range(len(second.boxes))))
    likeness = {
        (p, q): max(0.0, float(first.descriptors[p] @ second.descriptors[q])) for p, q in pairs
    }
    bins = {(p, q): literal_bin(first.boxes[p], second.boxes[q]) for p, q in pairs}
    return {
        pair: likeness[pair] * sum(likeness[other] for other in pairs if bins[other] == bins[pair])
        for pair in pairs
    }


def test_match_scores_against_loops():
    first, second = regions(9, 0), regions(11, 1)
    found = match_scores(first, second)
    for (p, q), expected in literal_scores(first, second).items():
        assert found[p, q] == pytest.approx(expected, abs=1e-6)  # float32


def test_nearest_images_against_all_pairs():
    descriptors = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    unit = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
    found = nearest_images(descriptors, 4)
    for i, row in enumerate(found):
        others = sorted((j for j in range(20) if j != i), key=lambda j: -unit[i] @ unit[j])
        assert row.tolist() == sorted(others[:4])


@pytest.mark.parametrize("count", [1, 3])
def test_never_more_neighbours_than_images(count):
    assert nearest_images(np.ones((count, 2), np.float32), 10).shape == (count, count - 1)


def test_sparse_graph_is_the_dense_one():
    """With every match kept, and of every pair of images, nothing is left out."""
    images = [regions(count, seed) for seed, count in enumerate((3, 4, 5))]
    neighbors = np.array([[1, 2], [0, 2], [0, 1]])
    starts = [0, 3, 7, 12]
    dense = np.zeros((12, 12))
    for i, j in itertools.permutations(range(3), 2):
        for (p, q), score in literal_scores(images[i], images[j]).items():
            dense[starts[i] + p, starts[j] + q] = score
    graph = proposal_graph(images, neighbors, 5)
    np.testing.assert_allclose(graph.toarray(), np.maximum(dense, dense.T), atol=1e-6)
    one = proposal_graph(images, neighbors, 1).toarray()
    np.testing.assert_array_equal(one, one.T)
    assert 0 < np.count_nonzero(one) <= 2 * 12 * 2
    kept = one > 0
    np.testing.assert_allclose(one[kept], np.maximum(dense, dense.T)[kept], atol=1e-6)


def test_peaks_highest_first():
    saliency = torch.tensor([[5.0, 1, 1, 6], [1, 1, 1, 1], [1, 1, 1, 1]])
    assert saliency_peaks(saliency, 10) == [3, 0]
    assert saliency_peaks(saliency, 1) == [3]
    assert saliency_peaks(torch.zeros(1, 1), 10) == [0]


def test_regions_of_two_objects():
    """Two blocks of unlike descriptors on a background of short ones."""
    key = torch.full((6, 8, 3), 0.01)
    key[1:3, 1:4] = torch.tensor([0.0, 1, 0])
    key[3:6, 5:8] = torch.tensor([0.0, 0, 1])
    key[2, 2] *= 1.5
    key[4, 6] *= 2
    boxes = propose_regions(key.view(48, 3), (6, 8), maxima=2, levels=3)
    assert boxes[0].tolist() == [0, 0, 8, 6]
    assert [5, 3, 8, 6] in boxes.tolist()
    assert [1, 1, 4, 3] in boxes.tolist()
    assert len(np.unique(boxes, axis=0)) == len(boxes) <= 7


@pytest.mark.parametrize("key", [torch.zeros(6, 2), torch.ones(6, 2)])
def test_regions_of_a_constant_map(key):
    boxes = propose_regions(key, (2, 3))
    assert boxes[0].tolist() == [0, 0, 3, 2]
    assert (boxes[:, :2] < boxes[:, 2:]).all()


def test_descriptors_average_quarters_of_a_box():
    key = torch.arange(16.0).view(16, 1)
    found = region_descriptors(key, (4, 4), np.array([[0, 0, 4, 4], [1, 1, 2, 2]]))
    # Bilinear samples at the borders of the map repeat its edge, so means are near, not equal.
    quarters = np.array([2.5, 4.5, 10.5, 12.5])
    np.testing.assert_allclose(found[0], quarters / np.linalg.norm(quarters), atol=0.03)
    assert found.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(found.astype(float), axis=1), 1, atol=1e-3)
