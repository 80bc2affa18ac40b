"""The eigensolver: exact products, a bound that holds, and the way out where there is no gap."""

import numpy as np
import pytest
import torch
from literal import cut_vector

from bbr.heuristics import eigensolver
from bbr.heuristics.eigensolver import dense_eigenvectors, lanczos_eigenvectors
from bbr.heuristics.graphs import DenseGraph, products_in_float64

EPSILON = 1e-5


def random_graph(count=250, batch=3, seed=0):
    """Points on a line, alike when near: gaps from wide to narrow."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(batch, count, generator=generator).sort(dim=1).values
    near = (places.unsqueeze(1) - places.unsqueeze(2)).abs() < 0.1
    return DenseGraph.build(near.float(), EPSILON)


def test_degrees_are_the_row_sums():
    graph = random_graph()
    affinity = np.where(graph.alike > 0, 1, EPSILON)
    np.testing.assert_allclose(graph.degrees, affinity.sum(axis=2), rtol=1e-14)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-14)])
def test_products_equal_those_of_the_dense_matrix(dtype, tolerance):
    """To a few roundings of sums of 250; the float64 ones keep 50 bits of the largest entry."""
    graph = random_graph()
    rows = torch.randn(3, 2, 250, dtype=dtype, generator=torch.Generator().manual_seed(1))
    expected = rows.double() @ graph.dense()
    torch.testing.assert_close(graph.product(rows).double(), expected, rtol=0, atol=tolerance)


def test_float64_products_do_not_depend_on_the_batch():
    graph = random_graph()
    rows = torch.randn(3, 2, 250, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    one = graph.select(torch.tensor([1])).product(rows[1:2])
    assert torch.equal(graph.product(rows)[1:2], one)


def test_the_error_is_within_its_bound_at_every_look():
    graph = random_graph(seed=2)
    exact = dense_eigenvectors(graph)
    looks = []

    def look(images, y, error):
        signs = (y * exact[images]).sum(dim=1, keepdim=True).sign()
        assert ((y * signs - exact[images]).abs() <= error + 1e-13).all()
        looks.append(error.max().item())
        return error.amax(dim=1) < 1e-11

    y = lanczos_eigenvectors(graph, look)
    assert len(looks) > 1
    signs = (y * exact).sum(dim=1, keepdim=True).sign()
    torch.testing.assert_close(y * signs, exact, rtol=0, atol=1e-11)


def test_each_image_is_refined_until_it_is_accepted():
    """The second needs one more look than the others; positions say whose turn it is."""
    seen = []

    def look(images, y, error):
        seen.append(images.tolist())
        return torch.tensor([len(seen) > 1 or image != 1 for image in images.tolist()])

    lanczos_eigenvectors(random_graph(), look)
    assert seen == [[0, 1, 2], [1]]


@pytest.fixture
def no_lapack(monkeypatch):
    """Small graphs, as if LAPACK took ever so long."""
    monkeypatch.setattr(eigensolver, "_LAPACK_PRODUCTS", 100)
    monkeypatch.setattr(eigensolver, "dense_eigenvectors", lambda graph: pytest.fail("LAPACK"))


@pytest.mark.parametrize("sizes", [(60, 80, 160), (50, 51, 199), (40, 60, 80, 120)])
def test_groups_joined_by_epsilon_exhaust_the_space_and_keep_the_basis_orthonormal(
    sizes, no_lapack
):
    """A few groups of equal patches: after as many products nothing is left but rounding."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    graph = DenseGraph.build((labels == labels[:, None]).float()[None], EPSILON)
    exact = torch.from_numpy(cut_vector(graph.alike[0].numpy() > 0, EPSILON))
    errors = []

    def precise(images, y, error):
        errors.append(error.max().item())
        assert ((y[0].abs() - exact.abs()).abs() <= error[0] + 1e-9).all()
        return error.amax(dim=1) < 1e-8

    lanczos_eigenvectors(graph, precise)
    assert len(errors) == 2


def test_products_are_within_the_price_of_lapack(monkeypatch):
    spent = []
    own = DenseGraph._sums
    monkeypatch.setattr(
        DenseGraph, "_sums", lambda self, rows: spent.append(rows.shape[1]) or own(self, rows)
    )
    graph = random_graph(batch=1, count=1000)
    lanczos_eigenvectors(graph, lambda images, y, error: torch.zeros(1, dtype=torch.bool))
    looks = 6 * products_in_float64(1000)  # one float64 product each
    assert 100 < sum(spent) <= 1000 / 4 + looks


def test_without_a_gap_lapack_decides():
    graph = DenseGraph.build(torch.ones(2, 200, 200), EPSILON)
    y = lanczos_eigenvectors(graph, lambda images, y, error: torch.zeros(len(y), dtype=torch.bool))
    assert torch.equal(y, dense_eigenvectors(graph))


def test_dense_equals_the_generalised_solver():
    graph = random_graph(count=60, batch=2, seed=4)
    for similar, y in zip(graph.alike, dense_eigenvectors(graph), strict=True):
        expected = cut_vector(similar.numpy() > 0, EPSILON)
        signed = y.numpy() * np.sign(y.numpy() @ expected)
        np.testing.assert_allclose(signed, expected, atol=1e-10)


@pytest.mark.parametrize("way", ["_qr", "_gram_schmidt"])
def test_rows_are_made_orthonormal_whatever_they_are(way, monkeypatch):
    """Of rows that lie among the others or in the basis, or are zero, others come."""
    monkeypatch.setattr(eigensolver, "_qr", getattr(eigensolver, way))
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(4, 2, 40, generator=generator)
    basis = torch.linalg.qr(torch.randn(4, 40, 5, generator=generator)).Q.mT
    rows[1, 1] = 3 * rows[1, 0]
    rows[2] = 0
    rows[3, 0] = basis[3, 1] + basis[3, 4]
    made, exhausted = eigensolver._orthonormal(rows, basis)
    torch.testing.assert_close(made @ made.mT, torch.eye(2).expand(4, -1, -1))
    torch.testing.assert_close(made @ basis.mT, torch.zeros(4, 2, 5))
    assert not exhausted
    assert eigensolver._orthonormal(basis[:, :2], basis)[1]
