"""Several indexes as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bbr.data.index import Index, load_index, save_index
from bbr.data.pooling import pool
from bbr.errors import InputError


def _index(folder: Path, names: list[str], categories: list[str], **info: Any) -> Index:
    """An index of images 7, 8, ..., each with a box of the last category."""
    images = [
        {"id": i, "file_name": name, "width": 9, "height": 8, "captions": [name]}
        for i, name in enumerate(names, 7)
    ]
    annotations = [
        {"id": 1, "image_id": i["id"], "bbox": [1, 2, 3, 4], "category_id": 10 * len(categories)}
        for i in images
    ]
    listed = [{"id": 10 * i, "name": name} for i, name in enumerate(categories, 1)]
    return Index(images, annotations, listed, {"image_root": "images", **info}, folder / "x.json")


def test_images_boxes_and_categories_are_those_of_the_parts(tmp_path: Path) -> None:
    a = _index(tmp_path / "a", ["1.jpg", "sub/2.jpg"], ["dog", "cat"])
    b = _index(tmp_path / "b", ["1.jpg"], ["car", "dog"], skipped=[{"file_name": "no.jpg"}])
    output = tmp_path / "all" / "index.json"
    output.parent.mkdir()
    save_index(pool([a, b], output))
    got = load_index(output)
    assert [image["id"] for image in got.images] == [1, 2, 3]
    assert [image["captions"] for image in got.images] == [["1.jpg"], ["sub/2.jpg"], ["1.jpg"]]
    assert [got.image_path(image).resolve() for image in got.images] == [
        tmp_path / "a/images/1.jpg",
        tmp_path / "a/images/sub/2.jpg",
        tmp_path / "b/images/1.jpg",
    ]
    names = {category["id"]: category["name"] for category in got.categories}
    assert names == {1: "dog", 2: "cat", 3: "car"}
    assert [(a["id"], a["image_id"], names[a["category_id"]]) for a in got.annotations] == [
        (1, 1, "cat"),
        (2, 2, "cat"),
        (3, 3, "dog"),
    ]
    assert got.info["skipped"] == [{"file_name": "no.jpg"}]


def test_the_pool_has_the_same_bytes_wherever_all_is_moved(tmp_path: Path) -> None:
    written = []
    for place in (tmp_path / "here", tmp_path / "else/where"):
        parts = [_index(place / name, ["1.jpg"], ["dog"]) for name in "ab"]
        save_index(pool(parts, place / "all/index.json"))
        written.append((place / "all/index.json").read_bytes())
    assert written[0] == written[1]


def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    a = _index(tmp_path / "a", ["1.jpg"], ["dog"], max_side=500)
    b = _index(tmp_path / "b", ["1.jpg"], ["dog"])
    with pytest.raises(InputError, match=r"max_side 500 and .*b.* has None"):
        pool([a, b], tmp_path / "all.json")
    with pytest.raises(InputError, match=r"images/1.jpg is in two datasets"):
        pool([b, b], tmp_path / "all.json")
