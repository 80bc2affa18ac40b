"""Boxes on disk: what is written, what is refused, and what a kill leaves behind."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbr.errors import InputError
from bbr.storage import boxes_json
from bbr.storage.boxes_json import (
    boxes_by_image,
    meta_path,
    read_boxes,
    read_meta,
    top_boxes,
    write_boxes,
)


def record(image_id=1, bbox=(0, 0, 10, 10), score=1.0, **more):
    return {"image_id": image_id, "category_id": 1, "bbox": list(bbox), "score": score, **more}


def write_json(path, content):
    path.write_text(json.dumps(content))
    return path


def test_round_trip_and_meta(tmp_path):
    path = tmp_path / "boxes.json"
    skipped = [{"image_id": 9, "reason": "truncated JPEG"}]
    write_boxes(path, [record(), record(2, score=0.5)], {"stage": "pseudo_boxes"}, skipped)
    assert read_boxes(path) == [record(), record(2, score=0.5)]
    meta = read_meta(path)
    assert meta["provenance"] == {"stage": "pseudo_boxes"}
    assert meta["skipped"] == skipped
    assert meta_path(path).name == "boxes.meta.json"


def test_numbers_are_rounded_the_same_way_everywhere(tmp_path):
    path = tmp_path / "boxes.json"
    write_boxes(path, [record(bbox=(1 / 3, -0.0, 2 / 3, 1e-9), score=1 / 3)], {})
    text = path.read_text()
    assert '"bbox": [0.333, 0.0, 0.667, 0.0]' in text
    assert '"score": 0.3333333}' in text


def test_boxes_of_phrases_keep_their_phrase(tmp_path):
    path = tmp_path / "boxes.json"
    write_boxes(path, [record(phrase_id=7)], {})
    assert read_boxes(path) == [record(phrase_id=7)]
    with pytest.raises(InputError, match="phrase_id '7', which is not an integer"):
        write_boxes(path, [record(phrase_id="7")], {})


def test_category_defaults_to_one(tmp_path):
    plain = {"image_id": 3, "bbox": [0, 0, 1, 1], "score": 2}
    write_boxes(tmp_path / "boxes.json", [plain], {})
    assert read_boxes(tmp_path / "boxes.json")[0]["category_id"] == 1


def test_same_records_same_bytes(tmp_path):
    for name in ("a.json", "b.json"):
        write_boxes(tmp_path / name, [record(i) for i in range(5)], {"stage": "s"})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (
        meta_path(tmp_path / "a.json").read_bytes() == meta_path(tmp_path / "b.json").read_bytes()
    )


def test_foreign_boxes_need_no_meta(tmp_path):
    path = write_json(tmp_path / "theirs.json", [record(extra="kept")])
    assert read_boxes(path) == [record(extra="kept")]
    assert read_meta(path)["skipped"] == []


def test_boxes_that_are_not_those_of_the_meta_file_are_refused(tmp_path):
    path = tmp_path / "boxes.json"
    write_boxes(path, [record()], {})
    write_json(path, [record(2)])
    with pytest.raises(InputError, match=r"boxes\.meta\.json"):
        read_boxes(path)


@pytest.mark.parametrize("older", [False, True])
def test_killed_between_the_two_files(tmp_path, monkeypatch, older):
    path = tmp_path / "boxes.json"
    if older:
        write_boxes(path, [record(1)], {})

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(boxes_json, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            write_boxes(path, [record(2)], {})
    with pytest.raises(InputError):
        read_boxes(path)

    write_boxes(path, [record(2)], {})
    assert read_boxes(path) == [record(2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"boxes": []}, "list of boxes"),
        ([[1, 2, 3, 4]], "box 0 is not an object"),
        ([record(), {"image_id": 1, "score": 1}], "box 1 has no bbox"),
        ([{"image_id": 1, "bbox": [0, 0, 1, 1]}], "has no score"),
        ([record("7")], "not an integer"),
        ([record(True)], "not an integer"),
        ([record(bbox=[0, 0, 1])], "x, y, width, height"),
        ([record(bbox=[0, 0, float("nan"), 1])], "finite"),
        ([record(bbox=[0, 0, "1", 1])], "finite"),
        ([record(score=float("inf"))], "finite"),
        ([record(score=None)], "finite"),
        ([record(bbox=[0, 0, -1, 1])], "negative size"),
    ],
)
def test_bad_records_are_named(tmp_path, content, message):
    path = write_json(tmp_path / "boxes.json", content)
    with pytest.raises(InputError, match=message) as error:
        read_boxes(path)
    assert str(path) in str(error.value)


def test_bad_boxes_are_not_written(tmp_path):
    path = tmp_path / "boxes.json"
    with pytest.raises(InputError, match="negative size"):
        write_boxes(path, [record(bbox=[0, 0, -1, 1])], {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["boxes", "boxes.csv", "boxes.meta.json"])
def test_only_json_names(tmp_path, name):
    with pytest.raises(InputError, match=r"ends in \.json"):
        write_boxes(tmp_path / name, [], {})


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_boxes(tmp_path / "none.json")


def test_damaged_meta(tmp_path):
    path = write_json(tmp_path / "boxes.json", [])
    write_json(meta_path(path), [1])
    with pytest.raises(InputError, match="meta file"):
        read_boxes(path)


def test_top_box_is_the_first_on_ties():
    records = [record(1, score=0.2), record(1, (1, 1, 2, 2), 0.9), record(1, (3, 3, 2, 2), 0.9)]
    assert top_boxes(records) == {1: records[1]}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))))
def test_top_boxes_match_a_search_per_image(pairs):
    records = [record(i, (n, 0, 1, 1), s) for n, (i, s) in enumerate(pairs)]
    grouped = boxes_by_image(records)
    assert sum(map(len, grouped.values())) == len(records)
    assert top_boxes(records) == {
        i: max(found, key=lambda r: r["score"]) for i, found in grouped.items()
    }
