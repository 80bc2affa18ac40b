"""Heatmaps on disk: what comes back, and what is refused."""

import h5py
import numpy as np
import pytest
import torch

from bbr.errors import InputError
from bbr.grounding.heatmaps_h5 import HeatmapFile, create_heatmaps

SIZE = (5, 7)
ROWS = [(3, 10), (3, 11), (1, 10)]


@pytest.fixture
def maps():
    return torch.rand(len(ROWS), *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path(tmp_path, maps):
    path = tmp_path / "heatmaps.h5"
    write(path, zip(ROWS, maps, strict=True))
    return path


def write(path, rows, size=SIZE):
    with create_heatmaps(path, size=size, provenance={"stage": "test"}) as writer:
        for (image_id, phrase_id), heatmap in rows:
            writer.append(image_id, phrase_id, heatmap)


def test_what_is_written_comes_back(path, maps):
    with HeatmapFile(path) as file:
        assert (len(file), file.size) == (3, SIZE)
        assert list(zip(file.image_id.tolist(), file.phrase_id.tolist(), strict=True)) == ROWS
        batches = list(file.batches(2))
    assert [positions.tolist() for positions, _ in batches] == [[0, 1], [2]]
    read = np.concatenate([heatmaps for _, heatmaps in batches])
    assert read.dtype == np.float32
    # float16 has 11 significant bits: an error of at most 2^-12 below 1
    np.testing.assert_allclose(read, maps.numpy(), atol=2**-12, rtol=0)


def test_positions_in_any_order_and_twice(path):
    with HeatmapFile(path) as file:
        every = file.read(np.arange(3))
        np.testing.assert_array_equal(file.read(np.array([2, 0, 2])), every[[2, 0, 2]])


def test_same_maps_same_bytes(path, maps):
    first = path.read_bytes()
    write(path, zip(ROWS, maps, strict=True))
    assert path.read_bytes() == first


def test_a_file_of_no_phrases(tmp_path):
    write(tmp_path / "none.h5", [])
    with HeatmapFile(tmp_path / "none.h5") as file:
        assert len(file) == 0
        assert list(file.batches(4)) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1])
def test_values_out_of_range_leave_no_file(tmp_path, value):
    with pytest.raises(InputError, match="image 1, phrase 2: holds values outside"):
        write(tmp_path / "h.h5", [((1, 2), torch.full(SIZE, value))])
    assert list(tmp_path.iterdir()) == []


def test_each_phrase_has_one_map_of_one_size(tmp_path):
    with pytest.raises(InputError, match="comes twice"):
        write(tmp_path / "h.h5", [((1, 2), torch.zeros(SIZE))] * 2)
    with pytest.raises(ValueError, match=r"size \(2, 2\)"):
        write(tmp_path / "h.h5", [((1, 2), torch.zeros(2, 2))])


def set_attribute(file, name, value):
    file.attrs[name] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: set_attribute(file, "complete", False), "not marked complete"),
        (lambda file: set_attribute(file, "schema", "x"), "schema is 'x'"),
        (lambda file: file.__delitem__("maps"), "documented layout"),
        (lambda file: file["image_id"].write_direct(np.array([3, 3, 3])), "there twice"),
    ],
)
def test_other_files_are_refused(path, change, message):
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InputError, match=message):
        HeatmapFile(path)


def test_missing_and_damaged(tmp_path, path):
    with pytest.raises(InputError, match="no such file"):
        HeatmapFile(tmp_path / "no.h5")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="truncated or damaged"):
        HeatmapFile(path)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["schema"] = "bbr-heatmaps/1"
    with pytest.raises(InputError, match="not marked complete"):
        HeatmapFile(tmp_path / "x.h5")


def test_a_flipped_byte_in_a_map_is_noticed(path, maps):
    stored = maps[1].half().numpy().tobytes()
    content = bytearray(path.read_bytes())
    at = bytes(content).index(stored)
    content[at] ^= 1
    path.write_bytes(bytes(content))
    with HeatmapFile(path) as file, pytest.raises(InputError, match="damage at maps"):
        list(file.batches(8))
