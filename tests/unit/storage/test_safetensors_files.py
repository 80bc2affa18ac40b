"""Tensors on disk: the same bytes everywhere, and damage that is noticed."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bbr.errors import InputError
from bbr.storage import safetensors_files
from bbr.storage.safetensors_files import fit_weights, read_tensors, write_tensors

TENSORS = {
    "b": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,  # not contiguous
    "a": torch.tensor(7),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "none": torch.zeros(0, 4),
}
METADATA = {"backbone": {"z": 1, "a": [1.5, None]}, "provenance": {"stage": "test"}, "note": "text"}

WRITE = """
import sys, torch
from bbr.storage.safetensors_files import write_tensors
tensors = {name: torch.full((2, 3), float(len(name))) for name in ("b", "aa", "ccc")}
write_tensors(sys.argv[1], tensors, {name: {"x": 1, "y": 2} for name in ("q", "p", "r", "s")})
"""


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / "w.safetensors", TENSORS, METADATA)
    return tmp_path / "w.safetensors"


def header_size(path):
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


class TestRoundTrip:
    def test_tensors_and_metadata(self, path):
        tensors, metadata = read_tensors(path)
        assert list(tensors) == sorted(TENSORS)
        for name, tensor in TENSORS.items():
            assert tensors[name].dtype == tensor.dtype
            assert torch.equal(tensors[name], tensor)
        assert metadata == METADATA

    def test_the_library_reads_it(self, path):
        assert torch.equal(load_file(path)["b"], TENSORS["b"])

    def test_foreign_files_need_no_digest_nor_json(self, tmp_path):
        save_file({"x": torch.ones(2)}, tmp_path / "f.safetensors", {"format": "pt"})
        tensors, metadata = read_tensors(tmp_path / "f.safetensors")
        assert torch.equal(tensors["x"], torch.ones(2))
        assert metadata == {"format": "pt"}

    def test_a_header_s_length_may_begin_as_a_pickle_does(self, tmp_path):
        path = tmp_path / "f.safetensors"
        for length in range(0, 256, 8):  # headers are of whole eight bytes: each end, 0x80 too
            save_file({"x": torch.ones(2)}, path, {"pad": "." * length})
            assert torch.equal(read_tensors(path)[0]["x"], torch.ones(2))

    def test_gradients_and_shared_memory_do_not_matter(self, tmp_path):
        weight = torch.ones(2, 2, requires_grad=True)
        write_tensors(tmp_path / "w.safetensors", {"x": weight, "y": weight.T}, {})
        assert torch.equal(read_tensors(tmp_path / "w.safetensors")[0]["y"], torch.ones(2, 2))


def test_same_bytes_whatever_the_hash_seed(tmp_path):
    """The library's own header follows a hash that differs from process to process."""
    folder = str(safetensors_files.__file__).rsplit("/bbr/", 1)[0]
    contents = set()
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.safetensors"
        environment = {"PYTHONPATH": folder, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-c", WRITE, str(path)], env=environment, check=True)
        contents.add(path.read_bytes())
    assert len(contents) == 1
    size = int.from_bytes(contents.pop()[:8], "little")
    assert size % 8 == 0


class TestDamage:
    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_tensors(tmp_path / "w.safetensors")

    def test_every_flipped_byte_of_the_content(self, path):
        content = path.read_bytes()
        for place in range(header_size(path), len(content)):
            damaged = bytearray(content)
            damaged[place] ^= 0x10
            path.write_bytes(damaged)
            with pytest.raises(InputError, match="does not match its digest"):
                read_tensors(path)

    def test_no_flipped_bit_of_the_header_changes_what_is_read(self, path):
        content = path.read_bytes()
        for bit in range(8 * header_size(path)):
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            try:
                tensors, metadata = read_tensors(path)
            except InputError:
                continue
            # All that can pass is a flip in the name of a digest's own member, or in the padding.
            assert METADATA.items() <= metadata.items()
            assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)

    @pytest.mark.parametrize("kept", [0, 4, 8, 100, -1, -20])
    def test_truncated(self, path, kept):
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(InputError, match="not a complete safetensors file"):
            read_tensors(path)

    def test_longer_than_it_should_be(self, path):
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(InputError, match="not a complete safetensors file"):
            read_tensors(path)

    @pytest.mark.parametrize("change", ["name", "shape"])
    def test_names_and_shapes_are_part_of_the_digest(self, path, change):
        content = path.read_bytes()
        size = header_size(path)
        header = json.loads(content[8:size])
        if change == "name":
            header["c"] = header.pop("b")
        else:
            header["b"]["shape"] = [6, 1]
        encoded = json.dumps(header, sort_keys=True).encode().ljust(size - 8)
        path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + content[size:])
        with pytest.raises(InputError, match="does not match its digest"):
            read_tensors(path)

    def test_another_kind_of_file(self, tmp_path):
        torch.save({"x": torch.ones(2)}, tmp_path / "w.pth")
        with pytest.raises(InputError, match=r"not safetensors; .* stages/import_weights.py"):
            read_tensors(tmp_path / "w.pth")


class TestFitWeights:
    def test_fits(self):
        network, other = nn.Linear(2, 3), nn.Linear(2, 3)
        fit_weights(network, other.state_dict(), "w", "linear")
        assert torch.equal(network.weight, other.weight)

    @pytest.mark.parametrize(
        ("change", "first"),
        [
            ({"weight": torch.ones(3, 3)}, "weight"),
            ({"extra": torch.ones(1)}, "extra"),
            ({"bias": None}, "bias"),
        ],
    )
    def test_a_misfit_is_named_and_nothing_is_loaded(self, change, first):
        network = nn.Linear(2, 3)
        before = network.weight.clone()
        tensors = {k: t for k, t in (network.state_dict() | change).items() if t is not None}
        tensors = {k: t + 1 for k, t in tensors.items()}
        with pytest.raises(InputError, match=rf"w\.pt: 1 tensors do not fit .*first: {first}"):
            fit_weights(network, tensors, "w.pt", "linear")
        assert torch.equal(network.weight, before)
