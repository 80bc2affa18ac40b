"""The record of how an artifact came to be: complete, and the same wherever it was made."""

import json
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest
import torch

from bbr.backbones.features_h5 import create_features
from bbr.errors import InputError
from bbr.storage.atomic import sha256
from bbr.storage.boxes_json import write_boxes
from bbr.storage.json_files import encode_json
from bbr.storage.provenance import provenance, read_provenance
from bbr.storage.safetensors_files import write_tensors

RECORD = provenance("test", {"devices": 2}, {}, "NVIDIA H200")


def test_holds_what_made_it(tmp_path):
    source = tmp_path / "index.json"
    source.write_text("{}")
    record = provenance("extract", {"seed": 3, "dtype": "float16"}, {"index": source}, "cpu")
    assert record["stage"] == "extract"
    assert list(record["parameters"].items()) == [("dtype", "float16"), ("seed", 3)]
    assert record["inputs"] == {"index": sha256(source)}
    assert record["device"] == "cpu"
    assert record["versions"]["torch"] == version("torch")
    assert json.loads(encode_json(record)) == record


def test_a_library_may_come_in_another_package(monkeypatch):
    def installed(name):
        if name.startswith("opencv-contrib"):
            raise PackageNotFoundError(name)
        return f"{name} 1.0"

    monkeypatch.setattr("bbr.storage.provenance.version", installed)
    assert provenance("train", {}, {})["versions"]["opencv"] == "opencv-python-headless 1.0"


def test_inputs_that_were_not_given_are_left_out(tmp_path):
    assert provenance("train", {}, {"init": None})["inputs"] == {}


def test_same_bytes_for_the_same_content_elsewhere(tmp_path):
    records = []
    for folder, order in (("a", ("x", "y")), ("b", ("y", "x"))):
        (tmp_path / folder).mkdir()
        for name in order:
            (tmp_path / folder / name).write_text(name)
        inputs = {name: tmp_path / folder / name for name in order}
        parameters = dict.fromkeys(order, 1)
        records.append(encode_json(provenance("merge", parameters, inputs)))
    assert records[0] == records[1]
    assert str(tmp_path) not in records[0].decode()


def test_another_content_is_another_record(tmp_path):
    path = tmp_path / "x"
    path.write_text("1")
    before = provenance("merge", {}, {"x": path})
    path.write_text("2")
    assert provenance("merge", {}, {"x": path}) != before


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
