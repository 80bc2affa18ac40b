"""merge_boxes.py on the command line."""

import json
import re

import merge_boxes
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bbr.storage.boxes_json import meta_path, read_boxes, read_meta, write_boxes


def box(image_id, x=0.0):
    return {"image_id": image_id, "category_id": 1, "bbox": [x, 0.0, 10.0, 10.0], "score": 1.0}


def merge(output, *shards):
    return merge_boxes.main(["--boxes", *map(str, shards), "--output", str(output)])


@pytest.fixture
def shards(tmp_path):
    """Three shards of a run, one of which is empty."""
    contents = [
        ([box(5), box(2)], [{"image_id": 9, "reason": "truncated"}]),
        ([box(7, 1.0), box(1), box(7, 2.0)], [{"image_id": 3, "reason": "empty file"}]),
        ([], []),
    ]
    paths = [tmp_path / f"{i}.json" for i in range(len(contents))]
    for i, (path, (records, skipped)) in enumerate(zip(paths, contents, strict=True)):
        write_boxes(path, records, {"stage": "pseudo_boxes", "shard": i}, skipped)
    return paths


def test_joined_and_sorted(tmp_path, shards):
    output = tmp_path / "boxes.json"
    assert merge(output, *shards) == 0
    assert read_boxes(output) == [box(1), box(2), box(5), box(7, 1.0), box(7, 2.0)]
    meta = read_meta(output)
    assert [entry["image_id"] for entry in meta["skipped"]] == [3, 9]
    assert [source["shard"] for source in meta["provenance"]["sources"]] == [0, 1, 2]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6, deadline=None
)
@given(order=st.permutations(range(3)))
def test_order_of_the_shards_does_not_matter(tmp_path, shards, order):
    assert merge(tmp_path / "boxes.json", *shards) == 0
    assert merge(tmp_path / "other.json", *(shards[i] for i in order)) == 0
    for path in (lambda p: p, meta_path):
        expected, found = path(tmp_path / "boxes.json"), path(tmp_path / "other.json")
        assert expected.read_bytes() == found.read_bytes()


def test_one_foreign_file(tmp_path):
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps([box(1)]))
    assert merge(tmp_path / "boxes.json", path) == 0
    assert read_boxes(tmp_path / "boxes.json") == [box(1)]


def test_an_image_in_two_shards(tmp_path, shards, capsys):
    write_boxes(tmp_path / "again.json", [box(2)], {})
    assert merge(tmp_path / "boxes.json", *shards, tmp_path / "again.json") == 1
    message = capsys.readouterr().err
    assert re.fullmatch(r".* error: image 2 is in both .*0\.json and .*again\.json.*\n", message)
    assert not (tmp_path / "boxes.json").exists()


def test_an_image_skipped_in_one_shard_and_found_in_another(tmp_path, shards, capsys):
    write_boxes(tmp_path / "again.json", [box(9)], {})
    assert merge(tmp_path / "boxes.json", *shards, tmp_path / "again.json") == 1
    assert "image 9 is in both" in capsys.readouterr().err


def test_damaged_shard(tmp_path, shards, capsys):
    shards[1].write_text("[]")
    assert merge(tmp_path / "boxes.json", *shards) == 1
    assert re.fullmatch(r".* error: .*1\.json: not the boxes .*\n", capsys.readouterr().err)


def test_missing_shard(tmp_path, shards, capsys):
    assert merge(tmp_path / "boxes.json", *shards, tmp_path / "9.json") == 1
    assert re.fullmatch(r".* error: .*9\.json: cannot be read.*\n", capsys.readouterr().err)
