"""Photographs of any size: memory stays bounded, and boxes are those of the whole image."""

from __future__ import annotations

import json
import resource

import extract_features
import index_dataset
import numpy as np
import pseudo_boxes
import pytest
import torch
from PIL import Image

from bbr.backbones.features_h5 import FeatureFile, create_features
from bbr.backbones.native_extraction import images_at_once
from bbr.command_line import cli, memory
from bbr.command_line.memory import OutOfMemory
from bbr.data import loading
from bbr.data.images import read_rgb
from bbr.data.index import load_index
from bbr.heuristics import lost, tokencut


@pytest.fixture
def limited():
    """Keep to so many megabytes, until the test has ended."""
    yield memory.limit_memory
    memory.limit_memory(None)


def made(folder, *sides, max_side=64):
    """The index of photographs of these sizes, each with a bright object on a dark ground."""
    (folder / "photos").mkdir(parents=True)
    for i, (width, height) in enumerate(sides):
        pixels = np.random.default_rng(i).integers(0, 60, (height, width, 3), np.uint8)
        pixels[height // 4 : height // 2, width // 4 : width // 2] += 150
        Image.fromarray(pixels).save(folder / f"photos/{i}.png")
    arguments = ["--format", "folder", "--source", folder / "photos", "--max-side", max_side]
    arguments += ["--output", folder / "index.json"]
    assert index_dataset.main([str(a) for a in arguments]) == 0
    return folder / "index.json"


def extracted(index, *options):
    """Features of an untrained network."""
    output = index.with_name("features.h5")
    arguments = ["--index", index, "--weights", "random", "--architecture"]
    arguments += ["vit_tiny_patch16_224", "--architecture-args", '{"depth": 1}', "--output", output]
    assert extract_features.main([str(a) for a in (*arguments, *options)]) == 0
    return output


def boxes(features, method, *options):
    output = features.with_name("boxes.json")
    arguments = ["--method", method, "--features", features, "--output", output, *options]
    assert pseudo_boxes.main([str(a) for a in arguments]) == 0
    return [record["bbox"] for record in json.loads(output.read_text())]


def test_boxes_are_of_the_whole_image(tmp_path):
    features = extracted(made(tmp_path, (640, 320), (40, 30)))
    with FeatureFile(features) as file:
        assert file.image_size.tolist() == [[32, 64], [30, 40]]
        assert file.full_size.tolist() == [[320, 640], [30, 40]]
        assert file.grid.tolist() == [[2, 4], [2, 3]]
    assert boxes(features, "whole_image") == [[0, 0, 640, 320], [0, 0, 40, 30]]
    x, y, width, height = boxes(features, "lost")[0]
    assert (x % 160, y % 160, width % 160, height % 160) == (0, 0, 0, 0)  # patches of 16 × 10


def test_the_index_says_to_what_images_are_shrunk(tmp_path):
    index = load_index(made(tmp_path, (640, 320)))
    assert index.max_side == 64
    assert index.image_size(index.images[0]) == (320, 640)


@pytest.mark.parametrize(
    ("patches", "stride", "expected"), [(10, 16, 32), (1024, 16, 32), (4096, 16, 8), (10**6, 8, 1)]
)
def test_batches_are_counted_in_pixels(patches, stride, expected):
    assert images_at_once(patches, stride, most=32, batch_pixels=2**23) == expected


@pytest.mark.parametrize(("megabytes", "expected"), [(4000, 8), (2000, 2), (500, 1)])
def test_batches_are_smaller_where_memory_is(limited, megabytes, expected):
    limited(megabytes)
    assert images_at_once(4096, 16, most=32, batch_pixels=2**23) == expected


@pytest.mark.parametrize("method", ["tokencut", "lost"])
def test_a_graph_that_does_not_fit_into_memory(tmp_path, monkeypatch, method, note):
    features = extracted(made(tmp_path, (640, 320), (400, 300), max_side=400))
    expected = boxes(features, method)
    monkeypatch.setattr(tokencut, "affinity_graph", only_packed(tokencut.affinity_graph))
    assert boxes(features, method, "--memory-mb", 1) == expected
    if method == "tokencut":
        note(
            "a graph of patches that does not fit into memory",
            "out of memory",
            "kept as bits, the same boxes",
        )


def only_packed(own):
    """The function that makes a graph, which is to be asked for packed ones."""

    def make(*arguments):
        assert arguments[-1] is True
        return own(*arguments)

    return make


def test_windows_are_counted_in_pixels(monkeypatch):
    monkeypatch.setattr(loading, "_WINDOW_PIXELS", 1000)
    images = [{"id": i, "height": 20, "width": side} for i, side in enumerate((10, 20, 30, 90, 1))]
    windows = loading._windows(images, 3, None)
    assert [[image["id"] for image in window] for window in windows] == [[0, 1], [2], [3], [4]]
    # At most 10 pixels a side they all fit, three at a time.
    windows = loading._windows(images, 3, 10)
    assert [[image["id"] for image in window] for window in windows] == [[0, 1, 2], [3, 4]]


def test_features_are_read_in_windows_of_bytes(tmp_path, monkeypatch):
    path = tmp_path / "f.h5"
    with create_features(
        path, backbone="x", patch_size=1, dim=4, heads=0, dtype="float32", provenance={}
    ) as writer:
        for i, side in enumerate((2, 2, 6, 1, 1)):
            writer.append(i, (side, side), (side, side), torch.rand(side * side, 4), None)
    with FeatureFile(path) as file:
        whole = {i: m.key for m in file.batches(1) for i in m.image_ids}
        monkeypatch.setattr("bbr.backbones.features_h5._KEY_BYTES", 4 * 4 * 8)
        windows = [list(w) for w in file._windows(range(5), 256, 8)]
        assert windows == [[0, 1], [2], [3, 4]]
        parts = {i: key for m in file.batches(9) for i, key in zip(m.image_ids, m.key, strict=True)}
    assert all(torch.equal(parts[i], whole[i][0]) for i in range(5))


@pytest.mark.parametrize("products", [1, 100, 5000])
def test_rows_of_lost_in_blocks(monkeypatch, products):
    torch.manual_seed(0)
    features = torch.randn(3, 40, 5)
    expected = lost.patch_degrees(features)
    monkeypatch.setattr(lost, "_PRODUCTS", products)
    assert torch.equal(lost.patch_degrees(features), expected)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3.2 TiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("CUDA out of memory. Tried to allocate 4 GiB"),
    ],
)
def test_out_of_memory_is_one_line(capsys, error):
    def run() -> None:
        raise error

    assert cli.execute(run, "A stage.", []) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "out of memory" in line
    assert all(key in line for key in ("max_side", "batch_pixels", "memory_mb"))


def test_out_of_memory_names_the_batch(tmp_path, capsys, monkeypatch, note):
    index = made(tmp_path, (80, 64), (80, 64))
    features = extracted(index)

    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9e9")

    capsys.readouterr()
    monkeypatch.setattr(pseudo_boxes, "propose_scored", full)
    options = ["--method", "lost", "--features", features, "--output", tmp_path / "b.json"]
    assert pseudo_boxes.main([str(option) for option in options]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "image 1 (64×51 pixels, 16 patches) and 1 of its grid: out of memory" in line
    monkeypatch.setattr("bbr.backbones.extraction._found", full)
    options = ["--index", index, "--weights", "random", "--architecture", "vit_tiny_patch16_224"]
    assert extract_features.main([str(o) for o in (*options, "--output", tmp_path / "g.h5")]) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "0.png (64×51 pixels) and 1 of its size: out of memory" in line
    now = "one line that names the image or batch, what was asked for, and the keys"
    note("memory that does not suffice", "traceback", now)


def test_a_photograph_larger_than_memory_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise MemoryError

    made(tmp_path, (80, 64))
    monkeypatch.setattr("PIL.Image.Image.convert", full)
    with pytest.raises(OutOfMemory, match=r"0\.png: out of memory"):
        read_rgb(tmp_path / "photos/0.png")


def test_another_runtime_error_keeps_its_traceback():
    def run() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        cli.execute(run, "A stage.", [])


@pytest.mark.slow
def test_photographs_of_48_megapixels_and_panoramas(tmp_path, note):
    index = made(tmp_path, (8000, 6000), (4000, 3000), (8000, 400), max_side=1024)
    features = extracted(index, "--threads", "1")
    assert boxes(features, "whole_image") == [
        [0, 0, 8000, 6000],
        [0, 0, 4000, 3000],
        [0, 0, 8000, 400],
    ]
    boxes(features, "tokencut")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert peak < 4
    note("photographs of 48 MP, panoramas 20:1", "traceback, out of memory", "under 4 GB")
