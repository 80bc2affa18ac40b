"""Readers of datasets with phrases, on small datasets written here, and on a real sample."""

from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
from reader_data import dump, photo, phrases

from bbr.data.readers.coco import read_coco
from bbr.data.readers.flickr30k import read_flickr30k
from bbr.data.readers.folder import read_folder
from bbr.data.readers.listing import Listing
from bbr.data.readers.visual_genome import read_visual_genome
from bbr.errors import InputError

SAMPLE = Path(__file__).resolve().parents[4] / "shared" / "data" / "flickr30k_sample"


class TestFlickr30k:
    SENTENCES = """[/EN#7/people A man] with [/EN#8/animals/other two dogs] in [/EN#9/scene a park]
[/EN#7/people A  tall man] and [/EN#8/animals his dogs] see [/EN#0/notvisual each other] .
[/EN#7/people A man] wears [/EN#10/clothing a hat] and [/EN#11/odd a thing] [/EN#12/other at dusk]
"""
    ANNOTATION = """<annotation><filename>5.jpg</filename>
<object><name>7</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax><ymax>8</ymax></bndbox></object>
<object><name>8</name><name>11</name>
<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>3</xmax><ymax>5</ymax></bndbox></object>
<object><name>8</name><bndbox><xmin>12</xmin><ymin>3</ymin><xmax>20</xmax><ymax>10</ymax></bndbox></object>
<object><name>9</name><scene>1</scene><nobndbox>0</nobndbox></object>
<object><name>10</name><scene>0</scene><nobndbox>1</nobndbox></object>
</annotation>"""

    @pytest.fixture
    def root(self, tmp_path):
        photo(tmp_path / "flickr30k_images" / "5.jpg")
        dump(tmp_path / "flickr30k_entities" / "Sentences" / "5.txt", self.SENTENCES)
        dump(tmp_path / "flickr30k_entities" / "Annotations" / "5.xml", self.ANNOTATION)
        dump(tmp_path / "test.txt", "5\n")
        return tmp_path

    def test_ids_have_all_their_boxes_and_sentences(self, root):
        listing = read_flickr30k(root)
        dogs = ["two dogs", "his dogs"]
        # corners are 1-based and inclusive: 1..10 is 0..10 in continuous pixels
        assert phrases(listing) == [
            (1, 7, ["A man", "A tall man", "A man"], [0, 1, 10, 7]),
            (1, 8, dogs, [2, 2, 1, 3]),
            (1, 8, dogs, [11, 2, 9, 8]),
            (1, 11, ["a thing"], [2, 2, 1, 3]),
        ]
        named = {category["id"]: category["name"] for category in listing.categories}
        assert [named[a["category_id"]] for a in listing.annotations] == [
            "people",
            "animals",
            "animals",
            "other",
        ]
        assert listing.root == root / "flickr30k_images"
        assert listing.images[0]["captions"][0] == "A man with two dogs in a park"

    def test_boxes_that_end_at_their_last_pixels(self, root):
        expected = [
            (*one, [x, y, w - 1, h - 1])
            for *one, (x, y, w, h) in phrases(read_flickr30k(root))
            if w > 1 < h  # else nothing is left
        ]
        assert phrases(read_flickr30k(root, inclusive_boxes=True)) == expected

    def test_what_has_no_box_is_counted_by_reason(self, root):
        listing = read_flickr30k(root)
        assert {(entry["phrase_id"], entry["reason"]) for entry in listing.left_out} == {
            (9, "is of the whole scene"),
            (0, "names nothing to be seen"),
            (10, "has no box"),
            (12, "has no entry in the annotations"),
        }
        assert listing.count_phrases() == {
            "phrase_ids": 3,
            "phrases": 6,
            "boxes": 4,
            "left_out": {
                "has no box": 1,
                "has no entry in the annotations": 1,
                "is of the whole scene": 1,
                "names nothing to be seen": 1,
            },
        }
        assert listing.only([]).left_out == []

    def test_annotations_elsewhere(self, root, tmp_path_factory):
        elsewhere = tmp_path_factory.mktemp("entities") / "e"
        (root / "flickr30k_entities").rename(elsewhere)
        (root / "test.txt").rename(elsewhere / "test.txt")
        listing = read_flickr30k(root / "flickr30k_images", "test", elsewhere)
        assert len(listing.annotations) == 4
        with pytest.raises(InputError, match="name it with --annotations"):
            read_flickr30k(root)

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("flickr30k_entities/Annotations/5.xml", "<annotation>", "not an annotation of Flickr"),
            (
                "flickr30k_entities/Annotations/5.xml",
                "<a><object><name>x</name></object></a>",
                "not an annotation of Flickr",
            ),
            ("flickr30k_entities/Sentences/5.txt", None, "cannot be read"),
            ("flickr30k_entities/Annotations/5.xml", None, "cannot be read"),
            ("flickr30k_images/5.jpg", None, "no photograph 5.jpg"),
            ("test.txt", None, "no list of images test.txt"),
            ("test.txt", " ", "lists no images"),
        ],
    )
    def test_mistakes(self, root, file, content, message):
        (root / file).unlink() if content is None else (root / file).write_text(content)
        with pytest.raises(InputError, match=message):
            read_flickr30k(root)

    @pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample of Flickr30k is not here")
    @pytest.mark.parametrize(
        ("split", "counts"),
        [
            ("test", (285, 1447, 3868, 2035)),
            ("val", (80, 412, 1079, 649)),
            ("train", (420, 2009, 5392, 2876)),
            ("train+val+test", (785, 3868, 10339, 5560)),
        ],
    )
    def test_a_real_sample_completely(self, split, counts):
        listing = read_flickr30k(SAMPLE, split)
        found = listing.count_phrases()
        assert (len(listing.images), *list(found.values())[:3]) == counts
        assert set(found["left_out"]) == {
            "has no box",
            "is of the whole scene",
            "names nothing to be seen",
        }
        assert all(len(image["captions"]) == 5 for image in listing.images)
        assert all((listing.root / image["file_name"]).is_file() for image in listing.images)


class TestVisualGenome:
    REGIONS: ClassVar = [
        {
            "id": 3,
            "regions": [
                {
                    "region_id": 30,
                    "image_id": 3,
                    "phrase": "a red  door ",
                    "x": 2,
                    "y": 1,
                    "width": 30,
                    "height": 5,
                },
                {
                    "region_id": 31,
                    "image_id": 3,
                    "phrase": "sky",
                    "x": 25,
                    "y": 0,
                    "width": 3,
                    "height": 3,
                },
                {
                    "region_id": 32,
                    "image_id": 3,
                    "phrase": " ",
                    "x": 0,
                    "y": 0,
                    "width": 3,
                    "height": 3,
                },
            ],
        },
        {
            "id": 1,
            "regions": [
                {
                    "region_id": 10,
                    "image_id": 1,
                    "phrase": "a cat",
                    "x": -1,
                    "y": 0,
                    "width": 4,
                    "height": 4,
                },
            ],
        },
    ]
    DATA: ClassVar = [
        {"image_id": 3, "width": 20, "height": 10},
        {"image_id": 1, "width": 20, "height": 10},
    ]

    @pytest.fixture
    def regions(self, tmp_path):
        photo(tmp_path / "VG_100K_2" / "3.jpg")
        photo(tmp_path / "VG_100K" / "1.jpg")
        return dump(tmp_path / "region_descriptions.json", self.REGIONS)

    def test_regions_are_clipped_where_sizes_are_known(self, regions, tmp_path):
        data = dump(tmp_path / "image_data.json", self.DATA)
        listing = read_visual_genome(regions, tmp_path, data)
        assert phrases(listing) == [
            (3, 30, ["a red door"], [2, 1, 18, 5]),
            (1, 10, ["a cat"], [0, 0, 3, 4]),
        ]
        assert Counter(entry["reason"] for entry in listing.left_out) == {
            "its boxes are empty or outside the image": 1,
            "has no words": 1,
        }
        assert listing.images == [
            {"id": 3, "file_name": "VG_100K_2/3.jpg", "height": 10, "width": 20},
            {"id": 1, "file_name": "VG_100K/1.jpg", "height": 10, "width": 20},
        ]

    def test_without_image_data_boxes_stay(self, regions, tmp_path):
        listing = read_visual_genome(regions, tmp_path)
        assert listing.annotations[0]["bbox"] == [2, 1, 30, 5]
        assert "width" not in listing.images[0]

    def test_split_list(self, regions, tmp_path):
        lines = dump(tmp_path / "test.txt", "VG_100K/1.jpg\n1\n")
        listing = read_visual_genome(regions, tmp_path, image_list=lines)
        assert [image["id"] for image in listing.images] == [1]
        with pytest.raises(InputError, match="such as 4, are not in"):
            read_visual_genome(regions, tmp_path, image_list=dump(lines, "1\n4\n"))

    @pytest.mark.parametrize("content", [[{"id": 1}], {"images": []}, [1]])
    def test_other_json(self, tmp_path, content):
        with pytest.raises(InputError, match=r"not region_descriptions\.json"):
            read_visual_genome(dump(tmp_path / "r.json", content), tmp_path)

    def test_regions_without_a_box(self, tmp_path):
        content = [{"id": 1, "regions": [{"region_id": 1, "phrase": "a"}]}]
        with pytest.raises(InputError, match="a region of image 1 has no"):
            read_visual_genome(dump(tmp_path / "r.json", content), tmp_path)


class TestFewTexts:
    def test_so_many_of_each_image_and_always_the_same(self, tmp_path):
        regions = [
            {
                "id": image,
                "regions": [
                    {
                        "region_id": 100 * image + i,
                        "phrase": f"thing {i}",
                        "x": i,
                        "y": 0,
                        "width": 2,
                        "height": 2,
                    }
                    for i in range(count)
                ],
            }
            for image, count in ((1, 9), (2, 3))
        ]
        path = dump(tmp_path / "region_descriptions.json", regions)
        listing = read_visual_genome(path, tmp_path)
        few = listing.with_texts(4)
        kept = [a["phrase_id"] for a in few.annotations]
        assert Counter(a["image_id"] for a in few.annotations) == {1: 4, 2: 3}
        assert kept == sorted(kept)
        assert listing.with_texts(4) == few
        assert listing.with_texts(9) == listing

    def test_captions(self, tmp_path):
        listing = Listing(tmp_path, [{"id": 3, "captions": ["a", "b", "c"]}, {"id": 4}])
        few = listing.with_texts(2)
        assert len(few.images[0]["captions"]) == 2
        assert set(few.images[0]["captions"]) < {"a", "b", "c"}
        assert few.images[1] == {"id": 4}


class TestCocoCaptions:
    INSTANCES: ClassVar = {
        "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}]
    }

    def test_images_carry_their_captions(self, tmp_path):
        captions = {
            "annotations": [
                {"id": 1, "image_id": 1, "caption": "A dog\n runs. "},
                {"id": 2, "image_id": 9, "caption": "Elsewhere."},
                {"id": 3, "image_id": 1, "caption": "A cat."},
            ]
        }
        files = [dump(tmp_path / f"{i}.json", c) for i, c in enumerate((self.INSTANCES, captions))]
        listing = read_coco(files[0], tmp_path, captions=files[1])
        assert [image.get("captions") for image in listing.images] == [
            ["A dog runs.", "A cat."],
            None,
        ]
        assert listing.sources["captions"] == files[1]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"annotations": [{"image_id": 1}]}, "not COCO's captions file"),
            ([], "not COCO's captions file"),
            ({"annotations": [{"image_id": 9, "caption": "x"}]}, "no caption of any of the images"),
        ],
    )
    def test_other_files(self, tmp_path, content, message):
        instances = dump(tmp_path / "i.json", self.INSTANCES)
        with pytest.raises(InputError, match=message):
            read_coco(instances, tmp_path, captions=dump(tmp_path / "c.json", content))


class TestOwnPhrases:
    @pytest.fixture
    def photos(self, tmp_path):
        for name in ("a.jpg", "b/c.jpg"):
            photo(tmp_path / name)
        return tmp_path

    def test_a_list_is_asked_of_every_image(self, photos):
        listing = read_folder(photos, dump(photos / "p.txt", "a dog\n\n the cat \n"))
        assert [image["phrases"] for image in listing.images] == [["a dog", "the cat"]] * 2

    def test_phrases_by_file_name(self, photos):
        listing = read_folder(photos, dump(photos / "p.json", {"b/c.jpg": ["a dog"]}))
        assert [image["phrases"] for image in listing.images] == [[], ["a dog"]]

    @pytest.mark.parametrize(
        ("content", "message"),
        [({"z.jpg": ["a"]}, "such as z.jpg"), ({"a.jpg": "a"}, "list of phrases"), ([], "list of")],
    )
    def test_other_json(self, photos, content, message):
        with pytest.raises(InputError, match=message):
            read_folder(photos, dump(photos / "p.json", content))
