"""Annotations as people have them: read, or left out and counted, or refused in one line."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from odd_inputs import coco, indexed, photo, refused, turned, voc, voc_object
from PIL import Image

from bbr.data.images import read_rgb


def names(index):
    return [image["file_name"] for image in index.images]


def boxes(index):
    return [annotation["bbox"] for annotation in index.annotations]


BOX = [9, 9, 31, 31]  # of `voc_object`


class TestVoc:
    @pytest.mark.parametrize(
        ("file", "stated", "situation", "before"),
        [
            ("a1.jpg", "a1", "VOC: `<filename>` without an ending", "no image could be used"),
            ("a1.png", "other name.png", "VOC: `<filename>` of another stem", "`.jpg` alone"),
            ("a1.png", "C:\\Users\\me\\pics\\a1.png", "VOC: `<filename>` C:\\…", "`.jpg` alone"),
            ("a1.JPEG", "a1.jpg", "VOC: another ending on disk", "no image could be used"),
            ("day 1/a1.jpg", "a1.jpg", "VOC: images in subfolders", "no image could be used"),
        ],
    )
    def test_the_stem_decides(self, tmp_path, note, file, stated, situation, before):
        index = indexed(tmp_path / "i.json", "voc", voc(tmp_path / "v", {file: stated}))
        assert names(index) == [file]
        assert boxes(index) == [BOX]
        note(situation, before, f"found as `{file}`")

    def test_subfolder_of_images_alone(self, tmp_path):
        root = voc(tmp_path / "v", {"a1.jpg": "a1.jpg"})
        photo(root / "JPEGImages/sub/a1.jpg")
        (root / "JPEGImages/a1.jpg").unlink()
        assert names(indexed(tmp_path / "i.json", "voc", root)) == ["sub/a1.jpg"]

    def test_flags_that_are_no_numbers(self, tmp_path, note):
        root = voc(tmp_path / "v", {"a1.jpg": "a1.jpg", "a2.jpg": "a2.jpg"})
        xml = root / "Annotations/a2.xml"
        flag = "<truncated>Unspecified</truncated><difficult>1.0</difficult>"
        xml.write_text(f"<annotation>{voc_object(more=flag)}</annotation>")
        index = indexed(tmp_path / "i.json", "voc", root)
        assert [(a["truncated"], a["difficult"]) for a in index.annotations] == [(0, 0), (0, 1)]
        assert index.info["notes"]["truncated is no number, taken for 0"] == 1
        note("VOC: `truncated` is `Unspecified`", "the dataset refused, `int()`", "0, counted")

    @pytest.mark.parametrize(
        ("size", "stated"),
        [(("64.0", "48.0"), True), (("", ""), False), (("wide", 0), False), ((-64, 48), False)],
    )
    def test_sizes(self, tmp_path, size, stated):
        root = voc(tmp_path / "v", {"a1.jpg": "a1.jpg"}, size=size)
        index = indexed(tmp_path / "i.json", "voc", root)
        assert index.image_size(index.images[0]) == (48, 64)
        assert bool(index.info["notes"]) is not stated

    def test_sizes_in_the_table(self, tmp_path, note):
        root = voc(tmp_path / "v", {"a1.jpg": "a1.jpg"}, size=("64.0", "n/a"))
        index = indexed(tmp_path / "i.json", "voc", root)
        assert index.info["notes"] == {"image without a usable size: measured": 1}
        note("VOC: sizes that are fractions, missing or words", "refused", "measured, counted")

    def test_an_object_without_a_box(self, tmp_path, note):
        root = voc(tmp_path / "v", {"a1.jpg": "a1.jpg", "a2.jpg": "a2.jpg"})
        xml = root / "Annotations/a1.xml"
        polygon = "<object><name>cat</name><polygon><x1>1</x1></polygon></object></annotation>"
        xml.write_text(xml.read_text().replace("</annotation>", polygon))
        index = indexed(tmp_path / "i.json", "voc", root)
        assert boxes(index) == [BOX, BOX]
        assert index.info["notes"] == {"object left out: no bndbox": 1}
        note("VOC: an object without a bndbox", "refused, `float()`", "left out, counted")

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_a_marked_list_with_other_line_ends(self, tmp_path, encoding):
        listed = "a1\r\na2\r\n".encode(encoding)
        root = voc(tmp_path / "v", {"a1.jpg": "a1.jpg", "a2.jpg": "a2.jpg"}, listed)
        assert names(indexed(tmp_path / "i.json", "voc", root)) == ["a1.jpg", "a2.jpg"]

    def test_a_marked_list_in_the_table(self, tmp_path, note):
        root = voc(tmp_path / "v", {"a1.jpg": "a1.jpg"}, b"\xef\xbb\xbfa1\r\n")
        assert names(indexed(tmp_path / "i.json", "voc", root)) == ["a1.jpg"]
        note("VOC: byte-order mark, CRLF in the list", "an invisible name not found", "read")

    def test_blanks_in_names(self, tmp_path, note):
        root = voc(tmp_path / "v", {"my cat 1.jpg": "my cat 1.jpg", "my cat 2.jpg": "x.jpg"})
        index = indexed(tmp_path / "i.json", "voc", root)
        assert names(index) == ["my cat 1.jpg", "my cat 2.jpg"]
        note("VOC: blanks in names", "the list's line is cut at the first", "found")

    def test_a_label_behind_a_name_with_blanks(self, tmp_path):
        root = voc(tmp_path / "v", {"my cat 1.jpg": "x", "b.jpg": "b"}, b"my cat 1  1\nb.jpg\n")
        assert names(indexed(tmp_path / "i.json", "voc", root)) == ["my cat 1.jpg", "b.jpg"]

    def test_a_list_in_another_encoding(self, tmp_path, capsys):
        root = voc(tmp_path / "v", {"a1.jpg": "a1.jpg"}, b"a1\ncaf\xe9\n")
        message = refused(capsys, tmp_path / "i.json", "voc", "--source", root)
        assert "trainval.txt: line 2 is not UTF-8 text (byte 0xe9)" in message


class TestCoco:
    def index(self, tmp_path, images, annotations, *options):
        path = coco(tmp_path / "c.json", images, annotations)
        given = ("--annotations", path, *options)
        return indexed(tmp_path / "i.json", "coco", tmp_path / "images", *given)

    def test_sizes_that_are_none(self, tmp_path, note):
        sides = [(None, None), (0, 0), ("64", "48"), (64.0, 48.0), ("?", 48), (-3, 48)]
        images = []
        for i, (width, height) in enumerate(sides):
            photo(tmp_path / f"images/{i}.jpg")
            images.append({"file_name": f"{i}.jpg", "width": width, "height": height})
        index = self.index(tmp_path, images, [])
        assert [index.image_size(image) for image in index.images] == [(48, 64)] * 6
        assert index.info["notes"] == {"image without a usable size: measured": 4}
        note("COCO: width and height null, 0, text or fractions", "refused", "measured, counted")

    def test_boxes_that_are_none(self, tmp_path, note):
        photo(tmp_path / "images/a.jpg")
        bad = [[], None, [1, 2, 3], [1, 2, -3, 4], ["x", 1, 2, 3], "none", [1e12, 0, 1, 1]]
        found = [{"image_id": 1, "bbox": bbox} for bbox in bad]
        found += [{"image_id": 1, "bbox": ["1", "2.5", "3", "4"]}, {"image_id": 9}]
        index = self.index(tmp_path, [{"file_name": "a.jpg"}], found)
        assert boxes(index) == [[1, 2.5, 3, 4]]
        assert index.info["notes"] == {
            "object left out: no bbox": 2,
            "object left out: a bbox that is not 4 numbers": 4,
            "object left out: a box of negative size": 1,
            "object left out: of an image that is not listed": 1,
        }
        note("COCO: `bbox` empty, missing or negative", "refused", "left out, counted by reason")

    def test_masks_alone(self, tmp_path, note):
        photo(tmp_path / "images/a.jpg")
        # Run lengths down the columns of 48 rows: 2 columns less 3 rows, then 4 rows of a column.
        run_lengths = {"size": [48, 64], "counts": [2 * 48 + 3, 4, 48 * 62 - 7]}
        found = [
            {"image_id": 1, "bbox": None, "segmentation": run_lengths},
            {"image_id": 1, "bbox": [], "segmentation": [[3, 4, 9, 4, 9, 10]]},
            {"image_id": 1, "bbox": [], "segmentation": {"size": [48, 64], "counts": None}},
        ]
        index = self.index(tmp_path, [{"file_name": "a.jpg"}], found)
        assert boxes(index) == [[2, 3, 1, 4], [3, 4, 6, 6]]
        assert index.info["notes"]["object without a box: the box of its segmentation"] == 2
        note("COCO: run lengths and no `bbox`", "refused", "the mask's box, counted")

    def test_ids_as_texts(self, tmp_path):
        photo(tmp_path / "images/a.jpg")
        images = [{"id": "12", "file_name": "a.jpg"}, {"id": 13.0, "file_name": None}]
        index = self.index(tmp_path, images, [{"image_id": 12.0, "iscrowd": "0"}])
        assert [image["id"] for image in index.images] == [12]
        assert [(a["image_id"], a["iscrowd"]) for a in index.annotations] == [(12, 0)]

    @pytest.mark.parametrize("onto", ["NFC", "NFD"])
    def test_normal_forms(self, tmp_path, onto):
        photo(tmp_path / "images" / unicodedata.normalize(onto, "café.jpg"))
        other = unicodedata.normalize("NFD" if onto == "NFC" else "NFC", "café.jpg")
        index = self.index(tmp_path, [{"file_name": other}], [])
        assert names(index) == [unicodedata.normalize(onto, "café.jpg")]

    def test_other_spellings(self, tmp_path, note):
        for name in ("CAFÉ.JPG", "sub/b.jpg", "c.jpg"):
            photo(tmp_path / "images" / name)
        stated = ["café.jpg", "b.jpg", "D:\\pics\\c.jpg"]
        index = self.index(tmp_path, [{"file_name": name} for name in stated], [])
        assert names(index) == ["CAFÉ.JPG", "sub/b.jpg", "c.jpg"]
        note("COCO: composed, decomposed, other case", '"no such file", same glyphs', "found")

    def test_several_that_fit_are_none(self, tmp_path):
        for name in ("a.JPG", "A.jpg", "val/b.jpg", "b.jpg"):
            photo(tmp_path / "images" / name)
        stated = [{"file_name": name} for name in ("a.jpg", "train/b.jpg", "b.jpg")]
        index = self.index(tmp_path, stated, [], "--max-skipped", 5)
        # train/b.jpg may be b.jpg of a folder that was given as the source; not val/b.jpg.
        assert names(index) == ["b.jpg", "b.jpg"]
        assert [item["file_name"] for item in index.info["skipped"]] == ["a.jpg"]


class TestFrames:
    """A bright square of the stored image lies where its box says, whatever EXIF does to both."""

    def photograph(self, path, orientation):
        pixels = np.zeros((48, 64, 3), np.uint8)
        pixels[8:24, 4:16] = 255
        path.parent.mkdir(exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(path, exif=exif, quality=95)

    def annotated(self, tmp_path, *options):
        path = coco(
            tmp_path / "c.json",
            [{"file_name": "a.jpg"}],
            [{"image_id": 1, "bbox": [4, 8, 12, 16]}],
        )
        return indexed(
            tmp_path / "i.json", "coco", tmp_path / "images", "--annotations", path, *options
        )

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_turned_with_the_image(self, tmp_path, orientation):
        self.photograph(tmp_path / "images/a.jpg", orientation)
        index = self.annotated(tmp_path, "--frame", "stored")
        x, y, width, height = (int(side) for side in boxes(index)[0])
        bright = read_rgb(tmp_path / "images/a.jpg")[:, :, 0] > 128
        assert bright[y : y + height, x : x + width].mean() > 0.95
        assert bright.sum() == pytest.approx(12 * 16, abs=12)

    @pytest.mark.parametrize("orientation", [5, 6, 7, 8])
    def test_sizes_tell(self, tmp_path, capsys, orientation):
        self.photograph(tmp_path / "images/a.jpg", orientation)
        index = self.annotated(tmp_path)
        assert boxes(index) == boxes(self.annotated(tmp_path, "--frame", "stored"))
        assert index.info["notes"] == {"boxes turned with their image (EXIF)": 1}
        assert "EXIF turns" not in capsys.readouterr().err

    def test_sizes_that_tell_in_the_table(self, tmp_path, note):
        self.photograph(tmp_path / "images/a.jpg", 6)
        assert boxes(self.annotated(tmp_path)) == [[24, 4, 16, 12]]
        note("COCO: EXIF 6, the stored frame's size", "skipped by name", "boxes turned, counted")

    def test_sizes_that_do_not_tell(self, tmp_path, capsys, note):
        self.photograph(tmp_path / "images/a.jpg", 3)
        index = self.annotated(tmp_path)
        assert boxes(index) == [[4, 8, 12, 16]]
        warning = capsys.readouterr().err
        assert "EXIF turns a.jpg and 0 more" in warning
        assert "--frame stored" in warning
        note(
            "COCO: EXIF 3, boxes of the stored frame",
            "accepted, boxes 180° off",
            "a warning names the image and `frame: stored`, which turns them",
        )

    def test_told_to_be_upright(self, tmp_path, capsys):
        turned(tmp_path / "images/a.jpg", 3)
        assert boxes(self.annotated(tmp_path, "--frame", "upright")) == [[4, 8, 12, 16]]
        assert "EXIF turns" not in capsys.readouterr().err


class TestVisualGenome:
    @pytest.mark.parametrize("file", ["1.jpg", "1.JPG", "1.png"])
    def test_endings(self, tmp_path, file):
        photo(tmp_path / "vg/VG_100K" / file)
        region = {"region_id": 5, "phrase": "red ball", "x": 3, "y": 3, "width": 20, "height": 20}
        path = tmp_path / "region_descriptions.json"
        path.write_text(json.dumps([{"id": 1, "regions": [region]}]))
        index = indexed(
            tmp_path / "i.json", "visual_genome", tmp_path / "vg", "--annotations", path
        )
        assert names(index) == [f"VG_100K/{file}"]

    def test_endings_in_the_table(self, tmp_path, note):
        self.test_endings(tmp_path, "1.JPG")
        note("Visual Genome: `1.JPG`", "not found: case matters", "found")


class TestTexts:
    """Phrases and names in encodings of all kinds."""

    def phrases(self, tmp_path, content, name="p.txt"):
        photo(tmp_path / "images/a.jpg")
        path = tmp_path / name
        path.write_bytes(content)
        return ["--source", tmp_path / "images", "--phrases", path]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
    def test_marked(self, tmp_path, encoding):
        mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
        content = f"{mark}red circle\r\na café\r\n".encode(encoding)
        _, source, *options = self.phrases(tmp_path, content)
        index = indexed(tmp_path / "i.json", "folder", source, *options)
        assert index.images[0]["phrases"] == ["red circle", "a café"]

    def test_marked_in_the_table(self, tmp_path, note):
        self.test_marked(tmp_path, "utf-8-sig")
        note("phrases: byte-order mark, UTF-16", "U+FEFF in results", "read")

    @pytest.mark.parametrize(
        ("name", "content", "situation", "before", "now"),
        [
            (
                "p.txt",
                b"red\nthe man\x92s hat\n",
                "phrases: Windows-1252",
                "traceback, `UnicodeEncodeError`",
                "p.txt: line 2 is not UTF-8 text (byte 0x92); save the file as UTF-8",
            ),
            (
                "p.txt",
                b"\n",
                "phrases: an empty file",
                "lists no images",
                "p.txt: lists no phrases",
            ),
            (
                "p.json",
                b'{"a.jpg":\n["red \\ud83d"]}',
                "phrases: half of a character (lone surrogate)",
                "traceback, `UnicodeEncodeError`",
                "p.json: line 2 has half of a character, \\ud83d; put the whole character there,"
                " or nothing",
            ),
        ],
    )
    def test_refused_in_one_line(
        self, tmp_path, capsys, note, name, content, situation, before, now
    ):
        options = self.phrases(tmp_path, content, name)
        message = refused(capsys, tmp_path / "i.json", "folder", *options)
        assert message == f"{tmp_path}/{now}"
        note(situation, before, now)

    @pytest.mark.parametrize("text", [b"x\\udc92", b"\\ud83d\\ud83d", b"\\\\\\udc92"])
    def test_halves_in_categories(self, tmp_path, capsys, text):
        photo(tmp_path / "images/a.jpg")
        path = coco(tmp_path / "c.json", [{"file_name": "a.jpg"}], [])
        path.write_bytes(path.read_bytes().replace(b"thing", text))
        options = ["--source", tmp_path / "images", "--annotations", path]
        message = refused(capsys, tmp_path / "i.json", "coco", *options)
        assert "c.json: line 1 has half of a character, \\u" in message

    @pytest.mark.parametrize(
        ("text", "read"), [(b"\\ud83d\\ude00", "😀"), (b"\\\\ud83d", "\\ud83d")]
    )
    def test_whole_characters_and_backslashes(self, tmp_path, text, read):
        photo(tmp_path / "images/a.jpg")
        path = coco(tmp_path / "c.json", [{"file_name": "a.jpg"}], [])
        path.write_bytes(path.read_bytes().replace(b"thing", text))
        index = indexed(tmp_path / "i.json", "coco", tmp_path / "images", "--annotations", path)
        assert index.categories[0]["name"] == read

    def test_names_of_phrases_in_another_spelling(self, tmp_path):
        photo(tmp_path / "images" / unicodedata.normalize("NFD", "café.JPG"))
        path = tmp_path / "p.json"
        path.write_text(json.dumps({"café.jpg": ["red"]}))
        index = indexed(tmp_path / "i.json", "folder", tmp_path / "images", "--phrases", path)
        assert index.images[0]["phrases"] == ["red"]
