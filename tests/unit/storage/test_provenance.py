"""The record of how an artifact came to be: complete, and the same wherever it was made."""

import json
from importlib.metadata import PackageNotFoundError, version

from bbr.storage.atomic import sha256
from bbr.storage.json_files import encode_json
from bbr.storage.provenance import provenance


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
