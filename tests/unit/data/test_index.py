"""bbr.data.index: reading, refusing, grouping, sharding."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pytest

from bbr.data.index import Index, load_index, parse_shard, save_index
from bbr.errors import InputError

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def image(image_id, **keys):
    return {"id": image_id, "file_name": f"{image_id}.jpg", **keys}


def box(image_id, bbox=(1, 2, 3, 4), **keys):
    return {"image_id": image_id, "bbox": list(bbox), **keys}


def index_of(count):
    return Index([image(i) for i in range(count)], [], [], {}, Path("index.json"))


def write(folder, content):
    path = folder / "index.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


class TestLoad:
    def test_the_least_that_is_an_index(self, tmp_path):
        index = load_index(write(tmp_path, {"images": [image(7)]}))
        assert index.images == [image(7)]
        assert (index.annotations, index.categories, index.info) == ([], [], {})

    def test_save_then_load_gives_the_same_and_the_same_bytes(self, tmp_path):
        index = Index(
            images=[image(3, width=20, height=10), {"id": 1, "file_name": "ä\nb.png"}],
            annotations=[box(3, (0, 0.5, 2, 3), iscrowd=0, phrases=["a red disc"])],
            categories=[{"id": 1, "name": "disc"}],
            info={"image_root": "images", "skipped": []},
            path=tmp_path / "index.json",
        )
        save_index(index)
        first = index.path.read_bytes()
        again = load_index(index.path)
        assert again == index
        save_index(again)
        assert index.path.read_bytes() == first

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not valid JSON"),
            ("", "not valid JSON"),
            ([], "no `images`"),
            ({}, "no `images`"),
            ({"images": []}, "lists no images"),
            ({"images": {}}, "`images` is not a list of objects"),
            ({"images": [1]}, "`images` is not a list of objects"),
            ({"images": [image(1)], "annotations": None}, "`annotations` is not a list"),
            ({"images": [image(1)], "info": []}, "`info` is not an object"),
            ({"images": [image(1)], "info": {"image_root": 3}}, "image_root"),
            ({"images": [image(1), image(2), image(1)]}, "two images have the id 1"),
            ({"images": [image("1")]}, "no integer id"),
            ({"images": [image(True)]}, "no integer id"),
            ({"images": [image(1.0)]}, "no integer id"),
            ({"images": [{"id": 1}]}, "image 1 has no file_name"),
            ({"images": [image(1, width=0, height=3)]}, "width or height of image 1"),
            ({"images": [image(1, width="3")]}, "width or height of image 1"),
            ({"images": [image(1)], "annotations": [box(2)]}, "is for image 2"),
            ({"images": [image(1)], "annotations": [box([1])]}, r"is for image \[1\]"),
            ({"images": [image(1)], "annotations": [{"bbox": [0, 0, 1, 1]}]}, "for image None"),
        ],
    )
    def test_refuses(self, tmp_path, content, message):
        path = write(tmp_path, content)
        with pytest.raises(InputError, match=message) as caught:
            load_index(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize(
        "bbox",
        [
            "null",
            "[]",
            "[1,2,3]",
            "[1,2,3,4,5]",
            '"1234"',
            '[1,2,"3",4]',
            "[1,2,NaN,4]",
            "[1,2,3,Infinity]",
            "[1e999,2,3,4]",
            "[1,2,-3,4]",
            "[1,2,3,-0.5]",
            "[true,1,1,1]",
            "[1,2,3,[4]]",
            f"[1{'0' * 400},2,3,4]",
        ],
    )
    def test_refuses_a_bad_bbox_and_says_which(self, tmp_path, bbox):
        good = '{"image_id": 5, "bbox": [1, 2, 3, 4]}'
        content = (
            '{"images": [{"id": 5, "file_name": "a"}],'
            f' "annotations": [{good}, {{"image_id": 5, "bbox": {bbox}}}]}}'
        )
        with pytest.raises(InputError, match=r"annotation number 1 \(image 5\)"):
            load_index(write(tmp_path, content))

    def test_refuses_an_annotation_without_a_bbox(self, tmp_path):
        content = {"images": [image(1)], "annotations": [{"image_id": 1, "caption": "a dog"}]}
        with pytest.raises(InputError, match="bbox of annotation number 0"):
            load_index(write(tmp_path, content))

    def test_refuses_a_missing_file(self, tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load_index(tmp_path / "none.json")

    def test_a_hundred_thousand_images_load_in_seconds(self, tmp_path):
        count = 100_000
        content = {
            "images": [image(i, width=640, height=480) for i in range(count)],
            "annotations": [box(i % count, id=i, iscrowd=0) for i in range(3 * count)],
        }
        path = write(tmp_path, content)
        start = time.perf_counter()
        index = load_index(path)
        boxes = [index.boxes_xyxy(image["id"]) for image in index.images]
        assert time.perf_counter() - start < 20  # about 2 s on an idle machine
        assert sum(map(len, boxes)) == 3 * count


class TestPaths:
    def test_root_is_relative_to_the_index(self, tmp_path):
        (tmp_path / "index.json").write_text(
            json.dumps({"images": [image(1)], "info": {"image_root": "../photos"}})
        )
        index = load_index(tmp_path / "index.json")
        assert index.image_path(index.images[0]) == tmp_path / "../photos" / "1.jpg"

    def test_root_may_be_absolute_or_absent(self):
        absolute = Index([image(1)], [], [], {"image_root": "/photos"}, Path("x/index.json"))
        assert absolute.image_path(image(1)) == Path("/photos/1.jpg")
        absent = Index([image(1)], [], [], {}, Path("x/index.json"))
        assert absent.image_path(image(1)) == Path("x/1.jpg")


class TestBoxes:
    def test_corners_in_order_without_crowds(self):
        annotations = [
            box(2, (10, 20, 30, 40)),
            box(1, (0, 0, 5, 5), iscrowd=0),
            box(2, (0, 0, 9, 9), iscrowd=1),
            box(2, (1.5, 2, 0, 3)),
        ]
        index = Index([image(1), image(2), image(3)], annotations, [], {}, Path("index.json"))
        boxes = index.boxes_xyxy(2)
        assert boxes.dtype == np.float64
        np.testing.assert_array_equal(boxes, [[10, 20, 40, 60], [1.5, 2, 1.5, 5]])
        np.testing.assert_array_equal(index.boxes_xyxy(1), [[0, 0, 5, 5]])
        assert index.boxes_xyxy(3).shape == (0, 4)
        with pytest.raises(KeyError):
            index.boxes_xyxy(4)

    def test_writing_into_the_result_changes_nothing(self):
        index = Index([image(1)], [box(1)], [], {}, Path("index.json"))
        index.boxes_xyxy(1)[:] = 0
        np.testing.assert_array_equal(index.boxes_xyxy(1), [[1, 2, 4, 6]])


class TestShards:
    @pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
    @pytest.mark.parametrize("n", [1, 2, 3, 8])
    def test_contiguous_disjoint_complete_and_even(self, count, n):
        index = index_of(count)
        shards = [index.shard(i, n) for i in range(n)]
        assert [image for shard in shards for image in shard] == index.images
        sizes = [len(shard) for shard in shards]
        assert max(sizes) - min(sizes) <= 1

    def test_parse(self):
        assert parse_shard("0/4") == (0, 4)
        assert parse_shard("3/4") == (3, 4)

    @pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "0/0", "1/4/2", "a/b", "1.5/2", "/"])
    def test_parse_refuses(self, text):
        with pytest.raises(argparse.ArgumentTypeError):
            parse_shard(text)


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data of ../shared/data is not here")
def test_voc07_trainval_without_photographs():
    index = load_index(DATA / "voc07_trainval" / "index.json")
    boxes = [index.boxes_xyxy(image["id"]) for image in index.images]
    assert len(boxes) == 5011
    assert sum(map(len, boxes)) == 15_662
    assert min(map(len, boxes)) >= 1
    np.testing.assert_array_equal(index.boxes_xyxy(5)[0], [262, 210, 324, 339])
