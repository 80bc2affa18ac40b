"""TokenCut box for box against a dense generalised eigensolver (`literal.tokencut_box`).

The threshold 0.21 is no cosine of small whole numbers, so that rounding decides no edge. Where the
two smallest non-trivial eigenvalues are equal the vector is not unique, and nothing is compared.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from literal import alike, cut_box, cut_vector, tokencut_box
from PIL import Image
from tied_features import batches

from bbr.backbones.build import load_backbone
from bbr.heuristics import eigensolver
from bbr.heuristics.graphs import DenseGraph
from bbr.heuristics.tokencut import affinity_graph, tokencut_boxes, tokencut_masks, tokencut_vectors

THRESHOLD, EPSILON = 0.21, 1e-5
DATA = Path(__file__).parents[4] / "shared" / "data"
PHOTOS = DATA / "voc07_test395" / "VOCdevkit" / "VOC2007" / "JPEGImages"


def assert_equal_to_the_dense_solver(features, grid, threshold=THRESHOLD):
    """Returns how many images could be compared."""
    got = tokencut_boxes(features, grid, threshold, EPSILON).tolist()
    expected = [tokencut_box(image.numpy(), grid, threshold, EPSILON) for image in features]
    assert [g if e is None else e for g, e in zip(got, expected, strict=True)] == got
    return sum(e is not None for e in expected)


def structured(grid, count, objects=3, noise=1.0, dim=16, seed=0):
    """Features with smooth regions, as images have: (count, N, dim)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.linspace(0, 1, grid[0]).view(-1, 1, 1)
    columns = torch.linspace(0, 1, grid[1]).view(1, -1, 1)
    features = noise * torch.randn(count, *grid, dim, generator=generator)
    for image in features:
        for _ in range(objects):
            center = torch.rand(2, generator=generator)
            near = ((rows - center[0]) ** 2 + (columns - center[1]) ** 2) < 0.05
            image += 3 * near * torch.randn(dim, generator=generator)
    return features.flatten(1, 2)


def groups(sizes, generator=None):
    """One-hot features of groups of patches that are alike within and not between."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    if generator is not None:
        labels = labels[torch.randperm(len(labels), generator=generator)]
    return torch.nn.functional.one_hot(labels).float()[None]


@pytest.fixture
def lanczos(monkeypatch):
    """Small graphs through the solver for large ones."""
    monkeypatch.setattr(eigensolver, "_DENSE_BELOW", 2)
    monkeypatch.setattr(eigensolver, "_LAPACK_PRODUCTS", 1000)


class TestByHand:
    # Three patches of the object are alike; the eight others too, and all know one of each.
    GRID = (3, 4)

    def test_the_smaller_group_is_the_object(self):
        features = torch.tensor([[1.0, 0.0]]).repeat(12, 1)
        features[[5, 6, 9]] = torch.tensor([0.0, 1.0])
        assert tokencut_boxes(features[None], self.GRID).tolist() == [[1, 1, 3, 3]]

    def test_component_of_the_first_of_equal_seeds(self):
        features = torch.tensor([[1.0, 0.0]]).repeat(12, 1)
        features[[3, 5, 6]] = torch.tensor([0.0, 1.0])
        assert tokencut_boxes(features[None], self.GRID).tolist() == [[3, 0, 4, 1]]

    def test_the_map_is_1_at_the_seed_and_negative_in_the_background(self):
        features = torch.tensor([[1.0, 0.0]]).repeat(12, 1)
        features[[5, 6, 9]] = torch.tensor([0.0, 1.0])
        (drawn,) = tokencut_vectors(features[None], self.GRID)
        np.testing.assert_allclose(drawn.ravel()[[5, 6, 9]], 1, rtol=1e-6)
        assert (np.delete(drawn.ravel(), [5, 6, 9]) < 0).all()

    def test_one_patch(self):
        assert tokencut_boxes(torch.randn(3, 1, 4), (1, 1)).tolist() == [[0, 0, 1, 1]] * 3

    @pytest.mark.parametrize("features", [[[1.0], [-1.0]], [[1.0], [2.0]], [[0.0], [0.0]]])
    def test_of_two_patches_the_first(self, features):
        assert tokencut_boxes(torch.tensor([features]), (2, 1)).tolist() == [[0, 0, 1, 1]]

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_equal_features_give_some_box(self, value):
        """Every vector is as good as another; LAPACK's is taken."""
        boxes = tokencut_boxes(torch.full((2, 240, 5), value), (12, 20))
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert boxes[0].tolist() == boxes[1].tolist()

    @pytest.mark.parametrize("count", [4, 196, 256])
    def test_patches_alike_to_none_give_some_box(self, count):
        """One eigenvalue for all: of it LAPACK returns no vector at 256 patches."""
        side = math.isqrt(count)
        boxes = tokencut_boxes(torch.eye(count).expand(2, -1, -1), (side, side))
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert boxes[0].tolist() == boxes[1].tolist()

    def test_zero_features_are_like_nothing(self):
        features = torch.tensor([[[1.0], [0.0], [1.0]]])
        graph = affinity_graph(features, -0.5, EPSILON)
        assert graph.alike.tolist() == [[[1, 1, 1], [1, 1, 1], [1, 1, 1]]]
        graph = affinity_graph(features, THRESHOLD, EPSILON)
        assert graph.alike.tolist() == [[[1, 0, 1], [0, 0, 0], [1, 0, 1]]]


@settings(deadline=None)
@given(batches())
def test_equals_the_dense_solver_on_ties_and_zeros(batch):
    assert_equal_to_the_dense_solver(*batch)


@pytest.mark.parametrize("way", ["_qr", "_gram_schmidt"])
@settings(deadline=None, max_examples=50)
@given(batch=batches())
@example(batch=(torch.tensor([[[-1.0, 0], [0, 1], [1, 0], [0, 0], [0, 0], [1, 0]]]), (1, 6)))
def test_lanczos_equals_the_dense_solver_on_ties_and_zeros(way, batch):
    """On a CPU, and as a GPU does it. The example is for LAPACK: there is room for two products."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eigensolver, "_DENSE_BELOW", 2)
        patch.setattr(eigensolver, "_LAPACK_PRODUCTS", 1000)
        patch.setattr(eigensolver, "_qr", getattr(eigensolver, way))
        assert_equal_to_the_dense_solver(*batch)


def test_the_way_of_a_gpu_on_structured_features(monkeypatch):
    monkeypatch.setattr(eigensolver, "_qr", eigensolver._gram_schmidt)
    features = structured((19, 19), 3, seed=19)
    assert assert_equal_to_the_dense_solver(features, (19, 19)) == 3


@pytest.mark.parametrize("grid", [(19, 19), (14, 17), (24, 20)])
@pytest.mark.parametrize("threshold", [0.0, 0.21, 0.6])
def test_equals_the_dense_solver_on_structured_features(grid, threshold):
    """At 0.6 most graphs fall into many parts."""
    features = structured(grid, 3, seed=grid[0])
    assert assert_equal_to_the_dense_solver(features, grid, threshold) == 3


def test_equals_the_dense_solver_on_noise():
    """Random graphs have no cut: the eigenvalues are close everywhere."""
    features = torch.randn(4, 300, 12, generator=torch.Generator().manual_seed(3))
    assert assert_equal_to_the_dense_solver(features, (15, 20)) == 4


class TestPartsJoinedByEpsilonAlone:
    """The eigenvalues of such graphs lie within Nε of each other."""

    @pytest.mark.parametrize(
        "sizes",
        [
            (200, 1),
            (200, 1, 1),
            (150, 100),
            (200, 20, 21),
            (180, 40, 2, 2, 2, 1, 1),
            (120, 60, 30, 15, 8, 4, 2, 1),
            (*[2] * 20, 201),
            (*[1] * 60, 181),
        ],
    )
    def test_equals_the_dense_solver(self, sizes):
        features = groups(sizes, torch.Generator().manual_seed(0))
        grid = (1, sum(sizes))
        assert assert_equal_to_the_dense_solver(features, grid) == 1

    def test_isolated_patches_beside_structure(self):
        features = structured((16, 15), 3)
        features = torch.nn.functional.pad(features, (0, 5))
        for patch in range(5):  # each alone in a channel of its own
            features[:, 40 * patch] = 0
            features[:, 40 * patch, 16 + patch] = 1
        assert assert_equal_to_the_dense_solver(features, (16, 15)) == 3


@pytest.mark.parametrize("weak", [1, 2, 3])
def test_two_parts_of_nearly_one_size(weak, lanczos):
    """Two equal cliques hang on a third, one by `weak` and one by `weak + 1` edges."""
    similar = np.zeros((130, 130), dtype=np.float32)
    for part in (slice(0, 60), slice(60, 95), slice(95, 130)):
        similar[part, part] = 1
    for edge in range(weak):
        similar[edge, 60 + edge] = similar[60 + edge, edge] = 1
    for edge in range(weak + 1):
        similar[10 + edge, 95 + edge] = similar[95 + edge, 10 + edge] = 1
    expected = cut_vector(similar > 0, EPSILON)
    graph = DenseGraph.build(torch.from_numpy(similar)[None], EPSILON)
    y = eigensolver.second_eigenvectors(graph, lambda i, y, error: error.amax(dim=1) < 1e-9)
    y = y[0].numpy()
    assert cut_box(y, (10, 13)) == cut_box(expected, (10, 13))
    y, expected = (v / v[abs(expected).argmax()] for v in (y, expected))
    np.testing.assert_allclose(y, expected, atol=1e-9)


def test_a_batch_equals_its_images_one_by_one():
    features = structured((15, 16), 5, seed=4)
    together = tokencut_masks(features, (15, 16), THRESHOLD)
    for image, mask in zip(features, together, strict=True):
        np.testing.assert_array_equal(tokencut_masks(image[None], (15, 16), THRESHOLD)[0], mask)


def test_what_is_found_is_like_nothing_and_left_out():
    features = structured((15, 16), 4, seed=5)
    found = torch.zeros(4, 240, dtype=torch.bool)
    for _ in range(3):
        masks = torch.from_numpy(
            tokencut_masks(features, (15, 16), THRESHOLD, EPSILON, found)
        ).flatten(1)
        assert masks.any(dim=1).all()
        assert not (masks & found).any()
        found |= masks
    graph = affinity_graph(features, THRESHOLD, EPSILON, found)
    kept = ~found[0].numpy()
    similar = alike(features[0].numpy(), THRESHOLD) & np.outer(kept, kept)
    np.testing.assert_array_equal(graph.alike[0], similar)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_equals_cpu():
    """Small whole numbers in each channel: their cosines lie far from the threshold."""
    features = structured((20, 20), 8, seed=6).round()
    on_cpu = tokencut_masks(features, (20, 20), THRESHOLD)
    np.testing.assert_array_equal(tokencut_masks(features.cuda(), (20, 20), THRESHOLD), on_cpu)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs of ../shared/data are not here")
def test_equals_the_dense_solver_on_photographs():
    """20 photographs of about 768 patches, at the paper's threshold."""
    backbone = load_backbone("efficientnet_lite0", normalization="layernorm")
    for path in sorted(PHOTOS.glob("*.jpg"))[:20]:
        image = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)
        with torch.inference_mode():
            maps = backbone(backbone.prepare(image[None]))
        assert maps.grid[0] * maps.grid[1] > 192
        assert assert_equal_to_the_dense_solver(maps.key, maps.grid, 0.2) == 1
