"""The reader of ReferIt, in both of its layouts, on small datasets written here."""

import pickle
from typing import ClassVar

import pytest
from reader_data import dump, photo, phrases

from bbr.data.readers.measure import measure_images
from bbr.data.readers.referit import read_referit
from bbr.errors import InputError


class TestReferIt:
    @pytest.fixture
    def folder(self, tmp_path):
        queries = {"25_2": ["sky"], "25_1": ["man left", "guy"], "7_1": ["dog"], "7_3": ["tree"]}
        boxes = {"25_1": [0, 0, 4, 4], "25_2": [5, 0, 19, 9], "7_1": [1, 2, 3, 4]}
        dump(tmp_path / "referit_query_dict.json", queries)
        dump(tmp_path / "referit_imcrop_bbox_dict.json", boxes)
        return tmp_path

    def test_regions(self, folder):
        listing = read_referit(folder, folder)
        # corners are inclusive
        assert phrases(listing) == [
            (7, 1, ["dog"], [1, 2, 3, 3]),
            (25, 1, ["man left"], [0, 0, 5, 5]),
            (25, 2, ["guy"], [0, 0, 5, 5]),
            (25, 3, ["sky"], [5, 0, 15, 10]),
        ]
        assert listing.left_out == [{"image_id": 7, "phrase_id": 2, "reason": "has no box"}]
        assert [image["file_name"] for image in listing.images] == ["7.jpg", "25.jpg"]

    def test_split_list(self, folder):
        lines = dump(folder / "referit_test_imlist.txt", "25\n")
        assert [image["id"] for image in read_referit(folder, folder, lines).images] == [25]
        with pytest.raises(InputError, match="x is not the number of an image"):
            read_referit(folder, folder, dump(lines, "x\n"))
        with pytest.raises(InputError, match="none of the images that are wanted"):
            read_referit(folder, folder, dump(lines, "99\n"))

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("referit_query_dict.json", {"25": ["x"]}, "regions such as 25_1"),
            ("referit_query_dict.json", [], "regions such as 25_1"),
            ("referit_imcrop_bbox_dict.json", {"25_1": [1, 2]}, "box of region 25_1 is not 4"),
        ],
    )
    def test_other_json(self, folder, file, content, message):
        dump(folder / file, content)
        with pytest.raises(InputError, match=message):
            read_referit(folder, folder)


class TestRefClef:
    """The layout that Akbari et al. read, as lichengunc/refer publishes it."""

    INSTANCES: ClassVar = {
        "images": [
            {"id": 25, "file_name": "00/images/25.jpg", "width": 20, "height": 10},
            {"id": 7, "file_name": "00/images/7.jpg", "width": 20, "height": 10},
        ],
        "annotations": [
            {"id": "25_1", "image_id": 25, "bbox": [1, 2, 30, 4], "category_id": 3},
            {"id": "7_1", "image_id": 7, "bbox": [0, 0, 5, 5], "category_id": 3},
        ],
    }
    REFS: ClassVar = [
        {
            "ref_id": 2,
            "ann_id": "25_1",
            "image_id": 25,
            "split": "test",
            "sentences": [{"sent": "man left"}, {"sent": "guy"}, {"sent": "guy"}],
        },
        {
            "ref_id": 1,
            "ann_id": "7_1",
            "image_id": 7,
            "split": "test",
            "sentences": [{"sent": "sky"}],
        },
        {
            "ref_id": 3,
            "ann_id": "7_9",
            "image_id": 7,
            "split": "test",
            "sentences": [{"sent": "tree"}],
        },
    ]

    @pytest.fixture
    def folder(self, tmp_path):
        for number in (7, 25):
            photo(tmp_path / "images" / "00" / "images" / f"{number}.jpg")
        dump(tmp_path / "refclef" / "instances.json", self.INSTANCES)
        (tmp_path / "refclef" / "refs(unc).p").write_bytes(pickle.dumps(self.REFS, 2))
        return tmp_path

    def test_each_expression_is_a_phrase(self, folder):
        listing = read_referit(folder / "refclef", folder / "images")
        assert phrases(listing) == [
            (7, 1, ["sky"], [0, 0, 5, 5]),
            (25, 1, ["man left"], [1, 2, 19, 4]),  # clipped to the image
            (25, 2, ["guy"], [1, 2, 19, 4]),  # once, though it was said twice
        ]
        assert listing.left_out == [{"image_id": 7, "phrase_id": 2, "reason": "has no box"}]
        assert [i["file_name"] for i in listing.images] == ["00/images/7.jpg", "00/images/25.jpg"]
        assert measure_images(listing)[1] == []

    def test_of_a_list_what_has_regions(self, folder):
        lines = dump(folder / "referit_test_imlist.txt", "25\n26\n")
        listing = read_referit(folder / "refclef", folder / "images", lines)
        assert [image["id"] for image in listing.images] == [25]

    def test_other_files(self, folder):
        (folder / "refclef" / "refs(unc).p").write_bytes(pickle.dumps([{"ref_id": 1}]))
        with pytest.raises(InputError, match=r"are not RefCLEF's \(KeyError"):
            read_referit(folder / "refclef", folder / "images")
