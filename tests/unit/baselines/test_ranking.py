"""LOD's two rankings against dense versions, by eigenvectors and by networkx."""

import networkx
import numpy as np
import pytest
from scipy import sparse

from bbr.baselines.ranking import best_of_each, pagerank, quadratic_scores, rank_proposals


def graph(size=30, density=0.3, seed=0):
    half = sparse.random_array((size, size), density=density, rng=np.random.default_rng(seed))
    return (half + half.T).tocsr()


def test_quadratic_scores_are_the_leading_eigenvector():
    weights = graph()
    mixed = (1 - 1e-4) * weights.toarray() + 1e-4 / 30
    expected = np.abs(np.linalg.eigh(mixed)[1][:, -1])
    # Steps shorter than 1e-6 end the iteration; the gap makes the error a few times that.
    np.testing.assert_allclose(quadratic_scores(weights), expected, atol=1e-5)


def test_pagerank_against_dense_iteration():
    weights = graph(seed=1)
    prior = np.arange(30.0) / np.arange(30).sum()
    dense = weights.toarray()
    scores = prior
    for _ in range(2000):
        walked = (1 - 1e-4) * (dense / dense.sum(axis=0)) @ scores + 1e-4 / 30
        scores = (1 - 1e-4) * walked + 1e-4 * prior
    found = pagerank(weights, prior)
    np.testing.assert_allclose(found, scores, atol=1e-5)
    assert found.sum() == pytest.approx(1, abs=1e-9)


def test_pagerank_against_networkx():
    """Both jumps in one: to the prior, and to any node."""
    weights = graph(seed=2)
    prior = np.eye(30)[4]
    jump = 1 - (1 - 1e-4) ** 2
    target = (1e-4 * prior + (1 - 1e-4) * 1e-4 / 30) / jump
    network = networkx.from_scipy_sparse_array(weights)
    jumps = dict(enumerate(target))
    # The walk converges linearly; the graph is dense enough for 1e-5 within 100 steps.
    expected = networkx.pagerank(network, 1 - jump, jumps, tol=1e-10, max_iter=1000)
    found = pagerank(weights, prior)
    np.testing.assert_allclose(found, [expected[i] for i in range(30)], atol=1e-5)


def test_a_hub_comes_first_and_the_unlinked_score_nothing():
    star = np.zeros((5, 5))
    star[0, 1:4] = star[1:4, 0] = 1
    scores = rank_proposals(sparse.csr_array(star), [0, 2, 5])
    assert scores.argmax() == 0
    assert scores[4] == 0
    assert best_of_each(scores, [0, 2, 5])[0] == 0


def test_no_edges():
    scores = rank_proposals(sparse.csr_array((4, 4)), [0, 1, 4])
    assert scores.tolist() == [0] * 4
    assert best_of_each(scores, [0, 1, 4]).tolist() == [0, 1]
