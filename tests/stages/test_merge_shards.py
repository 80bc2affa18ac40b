"""merge_shards.py on the command line: boxes, heatmaps and described images."""

import codecs
import json
import re

import h5py
import merge_shards
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bbr.data.index import load_index
from bbr.grounding.heatmaps_h5 import HeatmapFile, create_heatmaps
from bbr.storage.boxes_json import meta_path, read_boxes, read_meta, write_boxes


def merge(output, *shards):
    return merge_shards.main(["--shards", *map(str, shards), "--output", str(output)])


def box(image_id, x=0.0):
    return {"image_id": image_id, "category_id": 1, "bbox": [x, 0.0, 10.0, 10.0], "score": 1.0}


@pytest.fixture
def boxes(tmp_path):
    """Boxes of three shards of a run, one of which is empty."""
    contents = [
        ([box(5), box(2)], [{"image_id": 9, "reason": "truncated"}]),
        ([box(7, 1.0), box(1), box(7, 2.0)], [{"image_id": 3, "reason": "empty file"}]),
        ([], []),
    ]
    paths = [tmp_path / f"{i}.json" for i in range(len(contents))]
    for i, (path, (records, skipped)) in enumerate(zip(paths, contents, strict=True)):
        write_boxes(path, records, {"stage": "pseudo_boxes", "shard": i}, skipped)
    return paths


def heatmaps(path, units, size=(4, 6)):
    """Maps of one value, image id / 10 + phrase id / 100."""
    with create_heatmaps(path, size=size, provenance={"stage": path.stem}) as writer:
        for image, phrase in units:
            writer.append(image, phrase, np.full(size, image / 10 + phrase / 100))
    return path


def described(path, image_ids, phrases=("a dot",)):
    """An index of images beside it, with the same captions each."""
    images = [{"id": i, "file_name": f"{i}.png", "phrases": list(phrases)} for i in image_ids]
    info = {"provenance": {"stage": path.stem}, "skipped": [{"image_id": -i} for i in image_ids]}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"info": info, "images": images}))
    return path


def test_boxes_are_sorted(tmp_path, boxes):
    output = tmp_path / "boxes.json"
    assert merge(output, *boxes) == 0
    assert read_boxes(output) == [box(1), box(2), box(5), box(7, 1.0), box(7, 2.0)]
    meta = read_meta(output)
    assert [entry["image_id"] for entry in meta["skipped"]] == [3, 9]
    assert [source["shard"] for source in meta["provenance"]["sources"]] == [0, 1, 2]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6, deadline=None
)
@given(order=st.permutations(range(3)))
def test_order_of_the_boxes_does_not_matter(tmp_path, boxes, order):
    assert merge(tmp_path / "boxes.json", *boxes) == 0
    assert merge(tmp_path / "other.json", *(boxes[i] for i in order)) == 0
    for path in (lambda p: p, meta_path):
        expected, found = path(tmp_path / "boxes.json"), path(tmp_path / "other.json")
        assert expected.read_bytes() == found.read_bytes()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_one_foreign_file(tmp_path, encoding):
    path = tmp_path / "theirs.json"
    path.write_text("\n " + json.dumps([box(1)]), encoding=encoding)
    assert merge(tmp_path / "boxes.json", path) == 0
    assert read_boxes(tmp_path / "boxes.json") == [box(1)]


def test_heatmaps_come_in_order(tmp_path):
    units = [(1, 0), (1, 2), (2, 0), (7, 1)]
    paths = [
        heatmaps(tmp_path / "0.h5", units[:3]),
        heatmaps(tmp_path / "1.h5", []),
        heatmaps(tmp_path / "2.h5", units[3:]),
    ]
    assert merge(tmp_path / "all.h5", *paths) == 0
    with HeatmapFile(tmp_path / "all.h5") as file:
        found = list(zip(file.image_id.tolist(), file.phrase_id.tolist(), strict=True))
        assert found == units
        np.testing.assert_allclose(
            file.read(np.arange(4))[:, 0, 0], [0.1, 0.12, 0.2, 0.71], atol=1e-3
        )
        sources = json.loads(file.provenance)["sources"]
    assert [source["stage"] for source in sources] == ["0", "1", "2"]
    assert merge(tmp_path / "again.h5", *paths) == 0
    assert (tmp_path / "all.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()


def test_described_images_come_in_order_from_another_folder(tmp_path):
    paths = [described(tmp_path / "b.json", [3, 1]), described(tmp_path / "a.json", [2], [])]
    merged = tmp_path / "x" / "merged.json"
    assert merge(merged, *paths) == 0
    index = load_index(merged)
    assert [image["id"] for image in index.images] == [3, 1, 2]
    assert index.image_path(index.images[0]).resolve() == tmp_path / "3.png"
    assert index.info["skipped"] == [{"image_id": -3}, {"image_id": -1}, {"image_id": -2}]
    record = index.info["provenance"]
    assert [source["stage"] for source in record["sources"]] == ["b", "a"]
    assert list(record["inputs"]) == ["descriptions_0", "descriptions_1"]


@pytest.mark.parametrize("again", [2, 9])  # with a box, and skipped
def test_an_image_in_two_files_of_boxes(tmp_path, boxes, refused, again):
    write_boxes(tmp_path / "again.json", [box(again)], {})
    shards = ["--shards", *boxes, tmp_path / "again.json"]
    message = refused(merge_shards, *shards, output=tmp_path / "boxes.json")
    assert re.search(rf"image {again} is in both .*0\.json and .*again\.json", message)


@pytest.mark.parametrize(
    ("units", "size", "message"),
    [([(1, 0)], (4, 6), "image 1 is in both"), ([(2, 0)], (6, 4), "name shards of one run")],
)
def test_heatmaps_that_do_not_fit_together(tmp_path, refused, units, size, message):
    first = heatmaps(tmp_path / "0.h5", [(1, 0)])
    second = heatmaps(tmp_path / "1.h5", units, size)
    assert message in refused(merge_shards, "--shards", first, second, output=tmp_path / "all.h5")


@pytest.mark.parametrize(
    ("folder", "message"), [("", "image 1 is in both"), ("moved", "name shards of one run")]
)
def test_described_images_that_do_not_fit_together(tmp_path, refused, folder, message):
    first = described(tmp_path / "0.json", [1])
    second = described(tmp_path / folder / "1.json", [1])
    output = tmp_path / "all.json"
    assert message in refused(merge_shards, "--shards", first, second, output=output)


def test_nothing_described(tmp_path, refused):
    shards = described(tmp_path / "0.json", [1], []), described(tmp_path / "1.json", [2], [])
    message = refused(merge_shards, "--shards", *shards, output=tmp_path / "all.json")
    assert "no image has a description" in message


def test_several_kinds(tmp_path, boxes, refused):
    maps = heatmaps(tmp_path / "0.h5", [(1, 0)])
    index = described(tmp_path / "index.json", [1])
    for first, second, said in (
        (boxes[0], maps, "{} holds boxes, and {} heatmaps"),
        (maps, index, "{} holds heatmaps, and {} described images"),
        (index, boxes[0], "{} holds described images, and {} boxes"),
    ):
        message = refused(merge_shards, "--shards", first, first, second, output=tmp_path / "all")
        assert said.format(first, second) in message


def test_damaged_boxes(tmp_path, boxes, refused):
    boxes[1].write_text("[]")
    message = refused(merge_shards, "--shards", *boxes, output=tmp_path / "boxes.json")
    assert re.search(r"1\.json: not the boxes ", message)


def test_heatmaps_that_are_not_whole(tmp_path, refused):
    first = heatmaps(tmp_path / "0.h5", [(1, 0)])
    second = heatmaps(tmp_path / "1.h5", [(2, 0)])
    with h5py.File(second, "r+") as file:
        file.attrs["complete"] = False
    message = refused(merge_shards, "--shards", first, second, output=tmp_path / "all.h5")
    assert "not marked complete" in message


def test_missing_shard(tmp_path, boxes, refused):
    shards = [*boxes, tmp_path / "9.json"]
    message = refused(merge_shards, "--shards", *shards, output=tmp_path / "boxes.json")
    assert re.search(r"9\.json: cannot be read", message)


@pytest.mark.parametrize("content", [b"", codecs.BOM_UTF8, b"image_id,x,y\n"])
def test_another_kind_of_file(tmp_path, refused, content):
    (tmp_path / "0.json").write_bytes(content)
    message = refused(merge_shards, "--shards", tmp_path / "0.json", output=tmp_path / "all.json")
    assert "0.json: neither boxes nor a described index" in message
