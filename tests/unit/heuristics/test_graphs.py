"""A graph kept as bits is the same graph, and gives the same boxes in less memory."""

import pytest
import torch

from bbr.command_line import memory
from bbr.heuristics import eigensolver, graphs, tokencut
from bbr.heuristics.graphs import DenseGraph, PackedGraph
from bbr.heuristics.lost import lost_boxes
from bbr.heuristics.tokencut import affinity_graph, fits_dense, tokencut_masks

EPSILON = 1e-5


@pytest.fixture(autouse=True)
def no_limit():
    yield
    memory.limit_memory(None)


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks, and rows unpacked a few at a time."""
    monkeypatch.setattr(graphs, "_PACKED_SIDE", 64)
    monkeypatch.setattr(graphs, "_UNPACKED", 100_000)


def whole_numbers(batch, count, dim=8, seed=0):
    """Features whose cosines are no thresholds: rounding decides no edge."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-3, 4, (batch, count, dim), generator=generator).float()


def objects(grid, count, seed):
    """Three regions in noise: (count, N, 16)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.linspace(0, 1, grid[0]).view(-1, 1, 1)
    columns = torch.linspace(0, 1, grid[1]).view(1, -1, 1)
    features = torch.randn(count, *grid, 16, generator=generator)
    for image in features:
        for _ in range(3):
            center = torch.rand(2, generator=generator)
            near = ((rows - center[0]) ** 2 + (columns - center[1]) ** 2) < 0.05
            image += 3 * near * torch.randn(16, generator=generator)
    return features.flatten(1, 2)


class TestPacked:
    def test_by_hand(self):
        alike = torch.eye(9)
        alike[0, 8] = alike[8, 0] = 1
        graph = PackedGraph.build(
            (1, 9), lambda rows, columns: alike[None, rows, columns], EPSILON, torch.device("cpu")
        )
        assert graph.bits[0].tolist()[0] == [0b10000000, 0b10000000]
        assert graph.bits[0].tolist()[1] == [0b01000000, 0]
        assert graph.bits[0].tolist()[8] == [0b10000000, 0b10000000]
        assert torch.equal(graph.zeros_and_ones()[0], alike)
        assert graph.degrees[0].tolist() == pytest.approx([2 + 7e-5] + [1 + 8e-5] * 7 + [2 + 7e-5])

    @pytest.mark.parametrize("count", [1, 7, 8, 63, 64, 65, 200, 257])
    def test_the_same_graph(self, count, small_blocks):
        features = whole_numbers(2, count)
        found = torch.rand(2, count, generator=torch.Generator().manual_seed(1)) < 0.3
        for known in (None, found):
            dense = affinity_graph(features, 0.21, EPSILON, known)
            packed = affinity_graph(features, 0.21, EPSILON, known, packed=True)
            assert torch.equal(packed.zeros_and_ones(), dense.zeros_and_ones())
            assert torch.equal(packed.degrees, dense.degrees)
            assert packed.bits.numel() == 2 * count * -(-count // 8)

    def test_symmetric_whatever_rounding_does(self, small_blocks):
        graph = affinity_graph(torch.randn(1, 300, 5), 0.2, EPSILON, packed=True)
        ones = graph.zeros_and_ones()
        assert torch.equal(ones, ones.mT)

    def test_products(self, small_blocks):
        features = whole_numbers(3, 257)
        dense = affinity_graph(features, 0.21, EPSILON)
        packed = affinity_graph(features, 0.21, EPSILON, packed=True)
        rows = torch.randn(3, 2, 257, dtype=torch.float64)
        assert torch.equal(packed.product(rows), dense.product(rows))  # without rounding
        torch.testing.assert_close(packed.product(rows.float()), dense.product(rows.float()))
        some = torch.tensor([2, 0])
        assert torch.equal(packed.select(some).product(rows[some]), packed.product(rows)[some])


class TestBoxes:
    # At 0.6 what is left after the first box falls into single patches, of which each is as good.
    @pytest.mark.parametrize(("threshold", "rounds"), [(0.0, 3), (0.2, 3), (0.6, 1)])
    @pytest.mark.parametrize("grid", [(16, 17), (21, 30)])
    def test_those_of_the_dense_way(self, grid, threshold, rounds, monkeypatch, small_blocks):
        features = objects(grid, 4, seed=grid[0])
        found = torch.zeros(4, len(features[0]), dtype=torch.bool)
        for _ in range(rounds):
            expected = tokencut_masks(features, grid, threshold, EPSILON, found)
            with monkeypatch.context() as patch:
                patch.setattr(tokencut, "fits_dense", lambda *_: False)
                patch.setattr(eigensolver, "dense_eigenvectors", lambda _: pytest.fail("LAPACK"))
                masks = tokencut_masks(features, grid, threshold, EPSILON, found)
            assert (masks == expected).all()
            found |= torch.from_numpy(expected).flatten(1)

    def test_where_no_vector_is_certain_the_last_is_taken(self, monkeypatch):
        """In a graph without structure all are as good."""
        monkeypatch.setattr(tokencut, "fits_dense", lambda *_: False)
        monkeypatch.setattr(eigensolver, "dense_eigenvectors", lambda _: pytest.fail("LAPACK"))
        masks = tokencut_masks(torch.ones(1, 240, 3), (12, 20))
        assert masks.any()

    def test_what_is_dense_goes_by_the_limit(self):
        memory.limit_memory(2000)
        cpu = torch.device("cpu")
        assert fits_dense(4900, cpu)
        assert not fits_dense(5100, cpu)
        memory.limit_memory(24_000)
        assert fits_dense(20_000, cpu)

    def test_no_more_memory_than_it_says(self, monkeypatch):
        """The dense way would take 40 N² bytes, of which the first asks for 4 N²."""
        largest = []
        own = torch.Tensor.new_empty
        monkeypatch.setattr(
            torch.Tensor,
            "new_empty",
            lambda self, *size, **more: largest.append(size) or own(self, *size, **more),
        )
        memory.limit_memory(1)
        features = objects((24, 20), 1, seed=0)
        tokencut_masks(features, (24, 20))
        lost_boxes(features, (24, 20))
        assert (1, 480, 480) not in largest
        memory.limit_memory(None)
        tokencut_masks(features, (24, 20))
        assert (1, 480, 480) in largest


def test_dense_products_are_of_the_matrix():
    graph = DenseGraph.build(torch.ones(1, 4, 4), EPSILON)
    assert graph.degrees.tolist() == [[4.0] * 4]
    torch.testing.assert_close(graph.product(torch.ones(1, 1, 4)), torch.ones(1, 1, 4))
