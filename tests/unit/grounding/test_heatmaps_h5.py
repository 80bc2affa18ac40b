"""Heatmaps on disk: what comes back, and what is refused."""

import h5py
import numpy as np
import pytest
import torch

from bbr.errors import InputError
from bbr.grounding.heatmaps_h5 import HeatmapFile, create_heatmaps, find_peak

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


def near_one():
    """A broad top of 0.99985, and one pixel of 0.9999 far from it."""
    heatmap = np.full((40, 40), 0.1, np.float32)
    heatmap[4:12, 4:12] = 0.99985
    heatmap[30, 20] = 0.9999
    return heatmap


def test_a_peak_is_found_before_half_precision_levels_it(tmp_path):
    """In float16 both are 1, and the first pixel of the broad top would be taken."""
    heatmap = near_one()
    assert divmod(int(heatmap.astype(np.float16).argmax()), 40) == (4, 4)
    for given in (heatmap, torch.from_numpy(heatmap)):
        write(tmp_path / "h.h5", [((1, 2), given)], size=(40, 40))
        with HeatmapFile(tmp_path / "h.h5") as file:
            assert file.read(np.array([0]))[0].max() == 1
            np.testing.assert_allclose(file.peak, [[20.5 / 40, 30.5 / 40]])


def test_a_peak_is_that_of_the_map_at_the_size_of_its_image():
    """Bilinear interpolation, pixel by pixel: centres at (i + 0.5) / n, edges held."""
    heatmap = np.random.default_rng(1).random((5, 7)).astype(np.float32)
    height, width = 11, 9
    best, place = -1.0, None
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * 5 / height - 0.5, 0), 4)
            u = min(max((x + 0.5) * 7 / width - 0.5, 0), 6)
            top, left = min(int(v), 3), min(int(u), 5)
            a, b = v - top, u - left
            (p, q), (r, s) = heatmap[top : top + 2, left : left + 2].tolist()
            value = (1 - a) * ((1 - b) * p + b * q) + a * ((1 - b) * r + b * s)
            if value > best:
                best, place = value, ((x + 0.5) / width, (y + 0.5) / height)
    assert find_peak(heatmap, (height, width)) == pytest.approx(place)


def test_a_given_peak_is_kept(tmp_path):
    with create_heatmaps(tmp_path / "h.h5", size=SIZE, provenance={}) as writer:
        writer.append(1, 2, torch.zeros(SIZE), (0.25, 0.75))
    with HeatmapFile(tmp_path / "h.h5") as file:
        assert file.peak.tolist() == [[0.25, 0.75]]


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
        (lambda file: file.__delitem__("peak"), "documented layout"),
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
        file.attrs["schema"] = "bbr-heatmaps/2"
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
