"""Provenance is read back from every kind of artifact."""

import numpy as np
import pytest
import torch

from bbr.backbones.features_h5 import create_features
from bbr.errors import InputError
from bbr.storage.boxes_json import write_boxes
from bbr.storage.provenance import provenance
from bbr.storage.provenance_files import read_provenance
from bbr.storage.safetensors_files import write_tensors

RECORD = provenance("test", {"devices": 2}, {}, "NVIDIA H200")


def _features(path):
    kept = {"backbone": "b", "patch_size": 8, "dim": 2, "heads": 0, "dtype": "float16"}
    with create_features(path, **kept, provenance=RECORD) as writer:
        writer.append(1, (8, 8), (1, 1), torch.ones(1, 2), None)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("boxes.json", lambda path: write_boxes(path, [], RECORD)),
        ("w.safetensors", lambda p: write_tensors(p, {"a": torch.ones(1)}, {"provenance": RECORD})),
        ("features.h5", _features),
    ],
)
def test_it_is_what_was_written(tmp_path, name, write):
    write(tmp_path / name)
    assert read_provenance(tmp_path / name) == RECORD


@pytest.mark.parametrize("name", ["b.json", "w.safetensors", "f.h5", "other.npy"])
def test_other_files_have_none(tmp_path, name):
    np.array([1, 2]).tofile(tmp_path / name)
    with pytest.raises(InputError, match="does not say how it was made"):
        read_provenance(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        read_provenance(tmp_path / f"no_{name}")


def test_weights_of_others_have_none(tmp_path):
    write_tensors(tmp_path / "w.safetensors", {"a": torch.ones(1)}, {})
    with pytest.raises(InputError, match="does not say how it was made"):
        read_provenance(tmp_path / "w.safetensors")
