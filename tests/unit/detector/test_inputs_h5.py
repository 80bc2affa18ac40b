"""What h reads: the layouts, and the file that keeps them."""

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bbr.backbones.feature_maps import FeatureMaps
from bbr.detector import inputs_h5
from bbr.detector.inputs_h5 import DetectorInputs, create_detector_inputs
from bbr.detector.layout import arrange, layout_channels, stack_parts
from bbr.errors import InputError

COUNT, PARTS, GRID, DIM = 5, 3, (2, 4), 6


def maps_of(query, key, value):
    return FeatureMaps(
        key=key, query=query, value=value, cls_attention=None, tokens=torch.zeros(1), grid=GRID
    )


def write(path, maps, parts="qkv", dtype="float32", ids=None):
    with create_detector_inputs(
        path,
        count=len(maps),
        shape=maps.shape[1:],
        grid=GRID,
        image_size=32,
        parts=parts,
        dtype=dtype,
        provenance={"stage": "test"},
    ) as file:
        file["image_id"][:] = range(10, 10 + len(maps)) if ids is None else ids
        file["maps"][:] = maps


@pytest.fixture
def maps():
    return np.random.default_rng(0).normal(size=(COUNT, PARTS, 8, DIM)).astype(np.float32)


@pytest.fixture
def inputs(tmp_path, maps):
    path = tmp_path / "detector_inputs.h5"
    write(path, maps)
    return path


def test_queries_keys_and_values_stack_in_this_order():
    query, key, value = torch.randn(3, 2, 8, DIM).unbind()
    stacked = stack_parts(maps_of(query, key, value), "qkv")
    assert stacked.shape == (2, 3, 8, DIM)
    for i, part in enumerate((query, key, value)):
        assert torch.equal(stacked[:, i], part)
    assert torch.equal(stack_parts(maps_of(query, key, value), "k"), key[:, None])


def test_convolutional_backbone_has_keys_only():
    key = torch.randn(2, 8, DIM)
    assert stack_parts(maps_of(None, key, None), "k").shape == (2, 1, 8, DIM)
    with pytest.raises(InputError, match="use parts: k"):
        stack_parts(maps_of(None, key, None), "qkv")


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
def test_spatial_layout_puts_each_patch_in_its_place(parts, height, width, dim):
    maps = torch.arange(2.0 * parts * height * width * dim).view(2, parts, height * width, dim)
    arranged = arrange(maps, (height, width), "spatial")
    assert arranged.shape == (2, layout_channels(parts, dim, "spatial"), height, width)
    for image in range(2):
        for part in range(parts):
            for y in range(height):
                for x in range(width):
                    channels = arranged[image, part * dim : (part + 1) * dim, y, x]
                    assert torch.equal(channels, maps[image, part, y * width + x])


def test_qkv_image_is_the_stack_itself():
    maps = torch.randn(2, 3, 8, DIM)
    assert arrange(maps, GRID, "qkv_image") is maps
    assert layout_channels(3, DIM, "qkv_image") == 3
    with pytest.raises(InputError, match="use parts: qkv"):
        arrange(maps[:, :1], GRID, "qkv_image")


def test_file_gives_back_what_was_written(inputs, maps):
    with DetectorInputs(inputs) as file:
        assert len(file) == COUNT
        assert file.image_id.tolist() == [10, 11, 12, 13, 14]
        assert (file.grid, file.parts, file.image_size) == (GRID, "qkv", 32)
        assert tuple(file.shape) == (PARTS, 8, DIM)
        everything = file.batch(torch.arange(COUNT))
    assert everything.dtype == torch.float32
    assert torch.equal(everything, torch.from_numpy(maps))


@pytest.mark.parametrize("positions", [[3], [4, 0, 2], [1, 1, 1], [2, 0, 2, 4, 0]])
def test_batches_in_any_order_with_repeats(inputs, maps, positions):
    with DetectorInputs(inputs) as file:
        assert torch.equal(file.batch(torch.tensor(positions)), torch.from_numpy(maps[positions]))


def test_half_precision_is_read_as_float32(tmp_path, maps):
    path = tmp_path / "half.h5"
    write(path, maps, dtype="float16")
    with DetectorInputs(path) as file:
        read = file.batch(torch.arange(COUNT))
    assert read.dtype == torch.float32
    assert torch.equal(read, torch.from_numpy(maps).half().float())


def test_same_content_same_bytes(tmp_path, maps):
    for name in ("a.h5", "b.h5"):
        write(tmp_path / name, maps)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_interrupted_writing_leaves_nothing(tmp_path, maps):
    class Stop(Exception):
        pass

    def start_and_stop():
        with create_detector_inputs(
            tmp_path / "inputs.h5",
            count=COUNT,
            shape=maps.shape[1:],
            grid=GRID,
            image_size=32,
            parts="qkv",
            dtype="float32",
            provenance={},
        ):
            raise Stop

    with pytest.raises(Stop):
        start_and_stop()
    assert list(tmp_path.iterdir()) == []


def refused(path, message):
    with pytest.raises(InputError, match=message) as caught:
        DetectorInputs(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    refused(tmp_path / "none.h5", "no such file")


@pytest.mark.parametrize("kept", [0, 100, 3000])
def test_truncated_file(inputs, kept):
    content = inputs.read_bytes()
    assert kept < len(content)
    inputs.write_bytes(content[:kept])
    refused(inputs, "truncated or damaged")


@pytest.mark.parametrize("change", ["complete", "schema"])
def test_file_that_is_not_complete(inputs, change):
    with h5py.File(inputs, "r+") as file:
        del file.attrs[change]
    refused(inputs, "not a complete bbr-detector-inputs/1 file")


def test_features_are_no_inputs(inputs):
    with h5py.File(inputs, "r+") as file:
        file.attrs["schema"] = "bbr-features/1"
    refused(inputs, r"cache_detector_inputs\.py")


@pytest.mark.parametrize("kept_bytes", [0, 2**31])
def test_a_damaged_image_is_found_when_it_is_read(inputs, kept_bytes, monkeypatch):
    monkeypatch.setattr(inputs_h5, "_KEPT_BYTES", kept_bytes)
    with h5py.File(inputs, "r") as file:
        place = file["maps"].id.get_chunk_info(2).byte_offset
    content = bytearray(inputs.read_bytes())
    content[place + 5] ^= 1
    inputs.write_bytes(content)
    with DetectorInputs(inputs) as file:
        if not kept_bytes:  # a large file, which is read image by image
            file.batch(torch.tensor([0, 1, 3, 4]))
        with pytest.raises(InputError, match="maps are damaged"):
            file.batch(torch.tensor([1, 2]))


def test_maps_kept_in_memory_are_those_read_image_by_image(inputs, monkeypatch):
    wanted = torch.tensor([3, 0, 3])
    with DetectorInputs(inputs) as file:
        kept = file.batch(wanted)
    monkeypatch.setattr(inputs_h5, "_KEPT_BYTES", 0)
    with DetectorInputs(inputs) as file:
        assert torch.equal(file.batch(wanted), kept)
