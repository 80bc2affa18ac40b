"""features.h5: what is written comes back, and nothing damaged is ever read."""

import json

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bbr.backbones.features_h5 import FeatureFile, create_features
from bbr.errors import InputError

DIM, HEADS = 5, 3
# (height, width), grid: three shapes, one of them twice.
IMAGES = [((30, 20), (2, 2)), ((16, 40), (1, 3)), ((32, 32), (2, 2)), ((9, 9), (1, 1))]


def maps_of(number, count):
    """Key and attention of an image: quarters, which float16 holds exactly."""
    generator = torch.Generator().manual_seed(number)
    key = torch.randint(-99, 99, (count, DIM), generator=generator) / 4
    return key, torch.randint(0, 99, (HEADS, count), generator=generator) / 4


def create(path, **changes):
    options = {"backbone": "vit", "patch_size": 16, "dim": DIM, "heads": 0, "dtype": "float32"}
    return create_features(path, **(options | {"provenance": {"stage": "test"}} | changes))


def write(path, images=IMAGES, dtype="float32", attention=True):
    with create(path, heads=HEADS if attention else 0, dtype=dtype) as writer:
        for number, (size, grid) in enumerate(images):
            key, weights = maps_of(number, grid[0] * grid[1])
            writer.append(100 + number, size, grid, key, weights if attention else None)
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "features.h5")


def refusal(path):
    """Why a file is refused, on opening or on reading all of it."""
    with pytest.raises(InputError) as caught, FeatureFile(path) as file:
        list(file.batches(2))
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", ["float16", "float32"])
    @pytest.mark.parametrize("attention", [True, False])
    def test_every_image_comes_back(self, tmp_path, dtype, attention):
        path = write(tmp_path / "f.h5", dtype=dtype, attention=attention)
        with FeatureFile(path) as file:
            assert len(file) == len(IMAGES)
            batches = list(file.batches(1))
        assert [batch.image_ids for batch in batches] == [[100], [102], [101], [103]]
        for batch in batches:
            number = batch.image_ids[0] - 100
            size, grid = IMAGES[number]
            key, weights = maps_of(number, grid[0] * grid[1])
            assert (batch.grid, batch.image_sizes.tolist()) == (grid, [list(size)])
            assert batch.patch_size == 16
            assert batch.key.dtype == torch.float32
            assert torch.equal(batch.key[0], key)
            if attention:
                assert torch.equal(batch.cls_attention[0], weights)
            else:
                assert batch.cls_attention is None

    def test_facet_and_block_are_recorded(self, tmp_path):
        with create(tmp_path / "f.h5", facet="value", block=-2):
            pass
        with FeatureFile(tmp_path / "f.h5") as file:
            assert (file.facet, file.block) == ("value", -2)

    def test_files_from_before_facets_hold_keys_of_the_last_block(self, path):
        with h5py.File(path, "r+") as file:
            del file.attrs["facet"], file.attrs["block"]
        with FeatureFile(path) as file:
            assert (file.facet, file.block) == ("key", -1)

    def test_float16_rounds_to_11_bits(self, tmp_path):
        key = torch.tensor([[1 + 2**-10, 1 + 2**-12, 0.1, -3.7e3, 6e-5]])
        with create(tmp_path / "f.h5", dim=5, dtype="float16") as writer:
            writer.append(1, (8, 8), (1, 1), key, None)
        with FeatureFile(tmp_path / "f.h5") as file:
            (batch,) = file.batches(1)
        # Half a unit in the last of 11 bits: normal float16 numbers are within 2^-11 relative.
        torch.testing.assert_close(batch.key[0], key, rtol=2**-11, atol=0)
        assert not torch.equal(batch.key[0], key)

    def test_attributes_and_layout_are_those_documented(self, path):
        with h5py.File(path) as file:
            assert file.attrs["schema"] == "bbr-features/1"
            assert file.attrs["backbone"] == "vit"
            assert file.attrs["complete"]
            assert json.loads(file.attrs["provenance"]) == {"stage": "test"}
            assert file["offset"][:].tolist() == [0, 4, 7, 11, 12]
            assert {name: str(data.dtype) for name, data in file.items()} == {
                "image_id": "int64",
                "image_size": "int32",
                "grid": "int32",
                "offset": "int64",
                "key": "float32",
                "cls_attention": "float32",
            }
            assert file["cls_attention"].shape == (12, HEADS)

    def test_no_images(self, tmp_path):
        with FeatureFile(write(tmp_path / "f.h5", images=[])) as file:
            assert len(file) == 0
            assert list(file.batches(4)) == []

    def test_same_bytes_again(self, tmp_path):
        first, second = (write(tmp_path / name).read_bytes() for name in ("a.h5", "b.h5"))
        assert first == second

    def test_skipped_images_are_kept(self, tmp_path):
        skipped = [{"image_id": 7, "reason": "empty file"}]
        with create(tmp_path / "f.h5", dim=1, dtype="float32") as writer:
            writer.note_skipped(skipped)
        with FeatureFile(tmp_path / "f.h5") as file:
            assert file.skipped == skipped


@settings(deadline=None, max_examples=40)
@given(size=st.integers(1, 6), window=st.integers(1, 12), data=st.data())
def test_batches_give_every_image_once(tmp_path_factory, size, window, data):
    grids = data.draw(st.lists(st.sampled_from([(1, 2), (2, 1), (2, 2)]), max_size=10))
    path = tmp_path_factory.mktemp("f") / "f.h5"
    write(path, [((grid[0] * 16, grid[1] * 16), grid) for grid in grids])
    seen = []
    with FeatureFile(path) as file:
        for batch in file.batches(size, window=window):
            assert 1 <= len(batch.image_ids) <= size
            for image_id, key in zip(batch.image_ids, batch.key, strict=True):
                assert grids[image_id - 100] == batch.grid
                assert torch.equal(key, maps_of(image_id - 100, len(key))[0])
            seen += batch.image_ids
            assert {(i - 100) // window for i in batch.image_ids} == {(seen[-1] - 100) // window}
    assert sorted(seen) == [100 + i for i in range(len(grids))]


@pytest.mark.parametrize("span", [range(1, 2), range(1, 4), range(2, 2)])
def test_only_some_of_the_images(path, span):
    with FeatureFile(path) as file:
        found = {i: batch for batch in file.batches(1, among=span) for i in batch.image_ids}
    assert sorted(found) == [100 + position for position in span]
    for image_id, batch in found.items():
        assert torch.equal(batch.key[0], maps_of(image_id - 100, batch.key.shape[1])[0])


class TestWriting:
    def test_an_exception_leaves_no_file(self, tmp_path):
        images = iter([((30, 20), (2, 2)), None])
        with pytest.raises(TypeError):
            write(tmp_path / "f.h5", images)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("value", [1e5, float("nan"), float("inf")])
    def test_values_that_the_type_cannot_hold_are_refused(self, tmp_path, value):
        message = "key of image 7 is not finite as float16"
        with (
            pytest.raises(InputError, match=message),
            create(tmp_path / "f.h5", dim=1, dtype="float16") as writer,
        ):
            writer.append(7, (8, 8), (1, 1), torch.full((1, 1), value), None)
        assert list(tmp_path.iterdir()) == []


def by_hand(path, **changes):
    """A features file made with plain h5py from DESIGN's description, with some parts changed."""
    parts = {
        "image_id": np.array([5, 3]),
        "image_size": np.array([[30, 20], [16, 40]]),
        "grid": np.array([[2, 2], [1, 3]]),
        "offset": np.array([0, 4, 7]),
        "key": np.arange(14, dtype=np.float64).reshape(7, 2),
        "schema": "bbr-features/1",
        "patch_size": 16,
        "complete": True,
    } | changes
    with h5py.File(path, "w") as file:
        for name, value in parts.items():
            if value is None:
                continue
            attribute = name in ("schema", "patch_size", "complete", "skipped")
            (file.attrs if attribute else file)[name] = value
    return path


class TestForeignFiles:
    def test_accepted(self, tmp_path):
        with FeatureFile(by_hand(tmp_path / "f.h5")) as file:
            first, second = file.batches(8)
        assert first.image_ids == [5]
        assert first.key[0].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
        assert first.cls_attention is None
        assert (second.image_ids, second.grid) == ([3], (1, 3))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"complete": None}, "not marked complete"),
            ({"complete": False}, "not marked complete"),
            ({"schema": "bbr-features/2"}, "schema is 'bbr-features/2'"),
            ({"schema": None}, "schema is None"),
            ({"key": None, "grid": None}, "has no grid, key"),
            ({"patch_size": None}, "has no attribute patch_size"),
            ({"offset": np.array([0, 3, 7])}, "do not fit together"),
            ({"offset": np.array([1, 5, 8])}, "do not fit together"),
            ({"offset": np.array([0, 4])}, "do not fit together"),
            ({"key": np.zeros((6, 2))}, "do not fit together"),
            ({"key": np.zeros(7)}, "do not fit together"),
            ({"cls_attention": np.zeros((6, 3))}, "do not fit together"),
            ({"image_id": np.array([5])}, "do not fit together"),
            ({"image_id": np.array([5, 5])}, "an image is there twice"),
            ({"image_size": np.array([30, 16])}, "do not fit together"),
            ({"grid": np.array([[2, 2], [3, 0]]), "offset": np.array([0, 4, 4])}, "do not fit"),
            ({"grid": np.array([2, 1])}, "not of the documented layout"),
            ({"patch_size": "sixteen"}, "not of the documented layout"),
            ({"patch_size": 0}, "do not fit together"),
            ({"skipped": "{"}, "not of the documented layout"),
        ],
        ids=str,
    )
    def test_refused(self, tmp_path, changes, message):
        assert message in refusal(by_hand(tmp_path / "f.h5", **changes))


class TestDamage:
    def test_missing(self, tmp_path):
        assert "no such file" in refusal(tmp_path / "f.h5")

    @pytest.mark.parametrize("kept", [0, 1, 100, 0.1, 0.5, 0.9, 0.999])
    def test_truncated(self, path, kept):
        content = path.read_bytes()
        path.write_bytes(content[: kept if kept >= 1 else int(len(content) * kept)])
        assert "make it again" in refusal(path)

    @pytest.mark.parametrize("name", ["key", "cls_attention", "offset", "grid", "image_id"])
    def test_flipped_bit_in_a_dataset(self, path, name):
        with h5py.File(path) as file:
            place = file[name].id.get_chunk_info(0).byte_offset + 2
        flip(path, place, 4)
        assert "make it again" in refusal(path)

    def test_flipped_bits_anywhere_are_refused_or_harmless(self, path):
        """Headers and attributes have checksums too; bits that mean nothing may differ."""
        with FeatureFile(path) as file:
            expected = [(b.image_ids, b.grid, b.key.tolist()) for b in file.batches(2)]
        content = path.read_bytes()
        rng = np.random.default_rng(0)
        used = np.flatnonzero(np.frombuffer(content, np.uint8))
        for place in rng.choice(used, 150, replace=False):
            flip(path, int(place), int(rng.integers(8)))
            try:
                with FeatureFile(path) as file:
                    found = [(b.image_ids, b.grid, b.key.tolist()) for b in file.batches(2)]
                assert found == expected, place
            except InputError:
                pass
            path.write_bytes(content)


def flip(path, place, bit):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)
