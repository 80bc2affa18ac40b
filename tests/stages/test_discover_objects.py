"""discover_objects.py on the command line."""

import discover_objects
import h5py
import numpy as np
import pytest

from bbr.backbones.features_h5 import create_features
from bbr.storage.boxes_json import meta_path, read_boxes, read_meta

GRIDS = ((6, 8), (5, 5))


def write_features(path, ids, dim=4, seed=0, patch=16.0, grids=GRIDS):
    """Noise, and in each image a block of 2 × 3 patches that all images share."""
    import torch

    with create_features(
        path, backbone="test", patch_size=patch, dim=dim, heads=0, dtype="float32", provenance={}
    ) as writer:
        for image_id in ids:
            random = np.random.default_rng((seed, image_id))
            height, width = grids[image_id % len(grids)]
            plane = random.normal(scale=0.05, size=(height, width, dim))
            top, left = random.integers(1, (height - 2, width - 3))
            plane[top : top + 2, left : left + 3, 0] += 3
            key = torch.from_numpy(plane.reshape(-1, dim))
            size = (int(height * patch) - 3, int(width * patch))
            writer.append(image_id, size, (height, width), key, None)
    return path


def true_boxes(ids, grids=GRIDS):
    found = {}
    for image_id in ids:
        random = np.random.default_rng((0, image_id))
        height, width = grids[image_id % len(grids)]
        random.normal(size=(height, width, 4))
        top, left = random.integers(1, (height - 2, width - 3)).tolist()
        bottom = min(16 * (top + 2), 16 * height - 3)
        found[image_id] = [16 * left, 16 * top, 48, bottom - 16 * top]
    return found


def discover(output, *features, method="lod", more=()):
    options = ["--method", method, "--features", *features, "--output", output, *more]
    assert discover_objects.main([str(option) for option in options]) == 0
    return {box["image_id"]: box["bbox"] for box in read_boxes(output)}


def write_shards(folder, ids):
    return [
        write_features(folder / "w.h5", ids),
        write_features(folder / "a.h5", ids[:5]),
        write_features(folder / "b.h5", ids[5:]),
    ]


def test_ddt_finds_the_common_object_whatever_the_shards(tmp_path):
    whole, *parts = write_shards(tmp_path, range(1, 13))
    found = discover(tmp_path / "w.json", whole, method="ddt")
    assert found == true_boxes(range(1, 13))
    assert discover(tmp_path / "p.json", *parts, method="ddt") == found


def test_lod_finds_parts_of_the_common_object_whatever_the_shards(tmp_path):
    """The blocks are flat but for noise, so that a part is as good a match as the whole."""
    whole, *parts = write_shards(tmp_path, range(1, 13))
    found = discover(tmp_path / "w.json", whole)
    for image_id, box in true_boxes(range(1, 13)).items():
        assert lies_within(found[image_id], box)
    assert discover(tmp_path / "p.json", *parts) == found


def lies_within(box, other):
    (x, y, width, height), (left, top, wide, high) = box, other
    return left <= x and top <= y and x + width <= left + wide and y + height <= top + high


def test_ddt_plus(tmp_path):
    first = write_features(tmp_path / "a.h5", range(1, 9))
    second = write_features(tmp_path / "b.h5", range(1, 9), dim=3)
    more = ("--second-features", second)
    found = discover(tmp_path / "b.json", first, method="ddt", more=more)
    # Noise of other dimension puts the second layer's blocks elsewhere; boxes only shrink.
    for image_id, box in true_boxes(range(1, 9)).items():
        assert lies_within(found[image_id], box)
    inputs = read_meta(tmp_path / "b.json")["provenance"]["inputs"]
    assert sorted(inputs) == ["features_0", "second_features_0"]


@pytest.mark.parametrize("method", ["ddt", "lod"])
def test_batches_do_not_matter(tmp_path, method):
    features = write_features(tmp_path / "f.h5", range(1, 9))
    for size in (1, 32):
        more = ("--batch-size", size)
        discover(tmp_path / f"{size}.json", features, method=method, more=more)
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "32.json").read_bytes()
    assert read_meta(tmp_path / "1.json") == read_meta(tmp_path / "32.json")


def test_same_bytes_in_another_process(tmp_path, run_stage):
    features = write_features(tmp_path / "f.h5", range(1, 9))
    discover(tmp_path / "a.json", features)
    output = tmp_path / "b.json"
    done = run_stage(
        "discover_objects", "--method", "lod", "--features", features, "--output", output
    )
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == (tmp_path / "a.json").read_bytes()
    assert meta_path(output).read_bytes() == meta_path(tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("method", ["ddt", "lod"])
@pytest.mark.parametrize("ids", [(), (7,)])
def test_collections_of_none_and_one(tmp_path, method, ids):
    features = write_features(tmp_path / "f.h5", ids, grids=((6, 8), (5, 5)))
    assert set(discover(tmp_path / "b.json", features, method=method)) == set(ids)


def test_images_of_one_patch(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.attrs.update({"schema": "bbr-features/1", "patch_size": 8, "complete": True})
        file["image_id"], file["image_size"] = [1, 2], [[1, 1], [8, 5]]
        file["grid"], file["offset"] = [[1, 1], [1, 1]], [0, 1, 2]
        file["key"] = np.array([[0.0], [0.0]])
    for method in ("ddt", "lod"):
        found = discover(tmp_path / "b.json", tmp_path / "f.h5", method=method)
        assert found == {1: [0, 0, 1, 1], 2: [0, 0, 5, 8]}


class TestRefused:
    @pytest.fixture
    def features(self, tmp_path):
        return write_features(tmp_path / "f.h5", (1, 2))

    @pytest.fixture
    def fails(self, refused, tmp_path):
        def call(method, *options):
            output = tmp_path / "out" / "boxes.json"
            return refused(discover_objects, "--method", method, *options, output=output)

        return call

    def test_unknown_method(self, fails, features):
        assert "'lost' is unknown; choose one of ddt, lod" in fails("lost", "--features", features)

    def test_a_shard_twice(self, fails, features):
        message = fails("lod", "--features", features, features)
        assert "image 1 is also in another of the files" in message

    def test_shards_of_two_backbones(self, fails, features, tmp_path):
        other = write_features(tmp_path / "o.h5", (3,), dim=5)
        assert "5 channels" in fails("ddt", "--features", features, other)

    def test_layers_of_other_grids(self, fails, features, tmp_path):
        other = write_features(tmp_path / "o.h5", (1, 2), grids=((5, 5),))
        message = fails("ddt", "--features", features, "--second-features", other)
        assert "not of the same images and patch grids" in message

    def test_a_second_layer_for_lod(self, fails, features):
        message = fails("lod", "--features", features, "--second-features", features)
        assert "lod reads one layer" in message
