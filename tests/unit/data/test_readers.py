"""bbr.data.readers: each layout on small datasets written here, and what is left out of them."""

import json
import os
import zlib
from pathlib import Path

import pytest
from PIL import Image

from bbr.data.readers.coco import read_coco
from bbr.data.readers.folder import read_folder
from bbr.data.readers.listing import Listing
from bbr.data.readers.measure import measure_images
from bbr.data.readers.voc import VOC_CLASSES, read_voc
from bbr.errors import InputError

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the real data of ../shared/data is not here"
)


def photo(path, width=20, height=10, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), "green").save(path, **options)
    return path


def names(listing):
    return [image["file_name"] for image in listing.images]


class TestFolder:
    def test_recursive_sorted_numbered_from_one_whatever_the_case_of_endings(self, tmp_path):
        for name in ("b.JPG", "a/z.png", "a/b/c.TiFF", "a.webp", "B.jpeg", "c.bmp", "d.gif"):
            photo(tmp_path / name)
        (tmp_path / "notes.txt").write_text("not an image")
        (tmp_path / "jpg").write_text("no ending")
        listing = read_folder(tmp_path)
        assert names(listing) == [
            "B.jpeg",
            "a.webp",
            "a/b/c.TiFF",
            "a/z.png",
            "b.JPG",
            "c.bmp",
            "d.gif",
        ]
        assert [image["id"] for image in listing.images] == [1, 2, 3, 4, 5, 6, 7]
        assert listing.annotations == []

    def test_hidden_files_and_folders_are_passed_over(self, tmp_path):
        for name in ("a.jpg", ".b.jpg", "._a.jpg", ".cache/c.jpg", "d/.e/f.jpg"):
            photo(tmp_path / name)
        assert names(read_folder(tmp_path)) == ["a.jpg"]

    def test_a_hidden_folder_can_itself_be_the_source(self, tmp_path):
        photo(tmp_path / ".photos" / "a.jpg")
        assert names(read_folder(tmp_path / ".photos")) == ["a.jpg"]

    def test_odd_names(self, tmp_path):
        odd = ["a b.jpg", "line\nbreak.jpg", "ä€😀.jpg", '"quoted".jpg']
        for name in odd:
            photo(tmp_path / name)
        listing, skipped = measure_images(read_folder(tmp_path))
        assert names(listing) == sorted(odd)
        assert skipped == []

    def test_a_name_that_json_cannot_hold_is_skipped(self, tmp_path):
        photo(tmp_path / "a.jpg")
        source = photo(tmp_path / "b.jpg")
        try:
            os.rename(source, os.fsencode(tmp_path) + b"/\xff.jpg")
        except OSError:
            pytest.skip("this file system takes only UTF-8 names")
        listing, skipped = measure_images(read_folder(tmp_path))
        assert names(listing) == ["a.jpg"]
        assert json.dumps(skipped, ensure_ascii=False).encode()
        assert "not UTF-8" in skipped[0]["reason"]
        assert read_folder(tmp_path).digest() != listing.digest()

    def test_home_is_expanded(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        photo(tmp_path / "photos" / "a.jpg")
        assert read_folder("~/photos").root == tmp_path / "photos"

    def test_linked_source(self, tmp_path):
        photo(tmp_path / "real" / "a.jpg")
        (tmp_path / "link").symlink_to(tmp_path / "real")
        assert names(read_folder(tmp_path / "link")) == ["a.jpg"]

    def test_no_images(self, tmp_path):
        with pytest.raises(InputError, match="no images in it or below"):
            read_folder(tmp_path)

    def test_no_folder(self, tmp_path):
        with pytest.raises(InputError, match="no such folder"):
            read_folder(tmp_path / "none")
        with pytest.raises(InputError, match="no such folder"):
            read_folder(photo(tmp_path / "a.jpg"))


def voc_object(name, xmin, ymin, xmax, ymax, difficult=0, truncated=0):
    return (
        f"<object><name>{name}</name><pose>Left</pose><truncated>{truncated}</truncated>"
        f"<difficult>{difficult}</difficult><bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin>"
        f"<xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"
    )


def write_voc(devkit, stems, objects="", size=(20, 10), year="VOC2007", image_set="trainval"):
    """A dataset in the official layout; returns its VOC2007 folder."""
    root = devkit / year
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for stem in stems:
        photo(root / "JPEGImages" / f"{stem}.jpg")
        (root / "Annotations" / f"{stem}.xml").write_text(
            f"<annotation><folder>{year}</folder><filename>{stem}.jpg</filename><size><width>"
            f"{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
            f"{objects}</annotation>"
        )
    (root / f"ImageSets/Main/{image_set}.txt").write_text("".join(f"{s}\n" for s in stems))
    return root


class TestVoc:
    def test_a_box_from_1_to_w_covers_0_to_w(self, tmp_path):
        root = write_voc(tmp_path, ["000005"], voc_object("dog", 1, 1, 20, 10))
        listing = read_voc(root, "trainval")
        assert listing.images == [{"id": 1, "file_name": "000005.jpg", "width": 20, "height": 10}]
        assert listing.annotations == [
            {
                "id": 1,
                "image_id": 1,
                "bbox": [0, 0, 20, 10],
                "area": 200,
                "iscrowd": 0,
                "difficult": 0,
                "truncated": 0,
                "category_id": 12,
            }
        ]
        assert listing.categories[11] == {"id": 12, "name": "dog"}
        assert listing.root == root / "JPEGImages"

    def test_difficult_and_truncated_objects_are_included_with_their_flags(self, tmp_path):
        objects = voc_object("cat", 3, 2, 6, 9, difficult=1) + voc_object(
            "person", 5, 5, 5, 5, truncated=1
        )
        listing = read_voc(write_voc(tmp_path, ["a"], objects), "trainval")
        assert [a["bbox"] for a in listing.annotations] == [[2, 1, 4, 8], [4, 4, 1, 1]]
        assert [a["difficult"] for a in listing.annotations] == [1, 0]
        assert [a["truncated"] for a in listing.annotations] == [0, 1]
        assert [a["id"] for a in listing.annotations] == [1, 2]

    def test_order_of_the_list_gives_the_ids(self, tmp_path):
        listing = read_voc(write_voc(tmp_path, ["2008_000008", "000009", "000002"]), "trainval")
        assert names(listing) == ["2008_000008.jpg", "000009.jpg", "000002.jpg"]
        assert [image["id"] for image in listing.images] == [1, 2, 3]

    def test_labels_blank_lines_and_repeats_in_the_list(self, tmp_path):
        root = write_voc(tmp_path, ["a", "b"])
        (root / "ImageSets/Main/dog_val.txt").write_text("b -1\r\n\r\na  1\r\nb  1\r\n")
        assert names(read_voc(root, "dog_val")) == ["b.jpg", "a.jpg"]

    def test_parts_of_an_object_are_not_objects(self, tmp_path):
        part = voc_object("head", 1, 1, 2, 2).replace("object>", "part>")
        whole = voc_object("person", 3, 3, 9, 9).replace("<bndbox>", part + "<bndbox>", 1)
        listing = read_voc(write_voc(tmp_path, ["a"], whole), "trainval")
        assert [a["bbox"] for a in listing.annotations] == [[2, 2, 7, 7]]

    def test_fractions_other_classes_and_unknown_sizes(self, tmp_path):
        objects = voc_object("zebra", 1.5, 2.0, 4.0, 9) + voc_object("apple", 1, 1, 2, 2)
        listing = read_voc(write_voc(tmp_path, ["a"], objects, size=(0, 0)), "trainval")
        assert listing.annotations[0]["bbox"] == [0.5, 1, 3.5, 8]
        assert [c["name"] for c in listing.categories] == [*VOC_CLASSES, "apple", "zebra"]
        assert [a["category_id"] for a in listing.annotations] == [22, 21]
        assert "width" not in listing.images[0]

    def test_other_formats_by_the_file_name_in_the_annotation(self, tmp_path):
        root = write_voc(tmp_path, ["a"])
        xml = root / "Annotations/a.xml"
        xml.write_text(xml.read_text().replace("a.jpg", "a.png"))
        photo(root / "JPEGImages/a.png")
        assert names(read_voc(root, "trainval")) == ["a.png"]
        xml.write_text(xml.read_text().replace("a.png", "somebody-elses.png"))
        assert names(read_voc(root, "trainval")) == ["a.jpg"]

    def test_source_may_be_given_at_four_levels(self, tmp_path):
        root = write_voc(tmp_path / "VOCdevkit", ["a"])
        for source in (root / "JPEGImages", root, root.parent, root.parent.parent):
            assert read_voc(source, "trainval").root == root / "JPEGImages"

    def test_missing_pieces(self, tmp_path):
        with pytest.raises(InputError, match="no JPEGImages"):
            read_voc(tmp_path, "trainval")
        root = write_voc(tmp_path, ["a"], image_set="test")
        with pytest.raises(InputError, match=r"trainval.txt: no such file; .*: test$"):
            read_voc(root, "trainval")
        (root / "ImageSets/Main/empty.txt").write_text("\n")
        with pytest.raises(InputError, match="lists no images"):
            read_voc(root, "empty")
        (root / "ImageSets/Main/more.txt").write_text("a\nb\n")
        listing = read_voc(root, "more")
        assert names(listing) == ["a.jpg"]
        assert listing.unusable[0]["file_name"] == "b"
        assert listing.unusable[0]["reason"].endswith("b.xml: no such file or directory")
        (root / "Annotations").rename(root / "gone")
        with pytest.raises(InputError, match="--format folder"):
            read_voc(root, "test")

    def test_several_datasets(self, tmp_path):
        write_voc(tmp_path, ["a"])
        write_voc(tmp_path, ["a"], year="VOC2012")
        with pytest.raises(InputError, match=r"VOC2007, VOC2012.*give one"):
            read_voc(tmp_path, "trainval")

    @pytest.mark.parametrize("content", ["", "<annotation>", "text"])
    def test_what_is_no_annotation_makes_its_image_unusable(self, tmp_path, content):
        root = write_voc(tmp_path, ["a", "b"])
        (root / "Annotations/a.xml").write_text(content)
        listing = read_voc(root, "trainval")
        assert names(listing) == ["b.jpg"]
        assert "a.xml: not a VOC annotation" in listing.unusable[0]["reason"]
        with pytest.raises(InputError, match=r"1 of 2 images .* a: .*a.xml: not a VOC"):
            measure_images(listing, max_skipped=0)

    @pytest.mark.parametrize(
        ("damaged", "why"),
        [
            ("<object><name>dog</name></object>", "no bndbox"),
            (voc_object("dog", "one", 2, 3, 4), "a side of its box is missing or no number"),
            (voc_object("dog", "nan", 2, 3, 4), "a side of its box is missing or no number"),
            (voc_object("dog", 9, 2, 3, 4), "a box of negative size"),
            (voc_object("dog", 1, 2, 3, 4).replace("name", "n"), "no name"),
        ],
    )
    def test_an_object_of_no_use_is_left_out_and_noted(self, tmp_path, damaged, why):
        root = write_voc(tmp_path, ["a"], damaged + voc_object("cat", 2, 3, 6, 7))
        listing = read_voc(root, "trainval")
        assert [a["bbox"] for a in listing.annotations] == [[1, 2, 5, 5]]
        assert listing.count_notes() == {f"object left out: {why}": 1}


def write_coco(folder, images, annotations=()):
    path = folder / "instances.json"
    categories = [{"id": 18, "name": "dog", "supercategory": "animal"}]
    content = {"images": images, "annotations": list(annotations), "categories": categories}
    path.write_text(json.dumps(content))
    return path


class TestCoco:
    def test_ids_boxes_and_crowds_are_kept(self, tmp_path):
        image = {"id": 900, "file_name": "z.jpg", "width": 20, "height": 10}
        dog = {"image_id": 900, "category_id": 18}
        one = dog | {"id": 5, "bbox": [1.25, 2, 3, 4.5], "area": 9.5, "iscrowd": 0}
        crowd = dog | {"id": 6, "bbox": [0, 0, 9, 9], "iscrowd": 1}
        annotations = [one | {"segmentation": [[1, 2, 3, 4, 5, 6]]}, crowd]
        path = write_coco(tmp_path, [image | {"license": 3}], annotations)
        listing = read_coco(path, tmp_path)
        assert listing.images == [image]
        assert listing.annotations == [one, crowd | {"area": 81}]
        assert listing.categories == [{"id": 18, "name": "dog", "supercategory": "animal"}]

    def test_rounding_is_of_corners_half_to_even(self, tmp_path):
        images = [{"id": 1, "file_name": "a.jpg"}]
        xywh = ([0.5, 1.5, 1.0, 1.2], [1.6, 0, 1.6, 0.4])
        boxes = [{"image_id": 1, "bbox": bbox} for bbox in xywh]
        listing = read_coco(write_coco(tmp_path, images, boxes), tmp_path, round_boxes=True)
        # Corners (0.5, 1.5, 1.5, 2.7) -> (0, 2, 2, 3) and (1.6, 0, 3.2, 0.4) -> (2, 0, 3, 0).
        assert [a["bbox"] for a in listing.annotations] == [[0, 2, 2, 1], [2, 0, 1, 0]]

    def test_image_list(self, tmp_path):
        images = [{"id": i, "file_name": f"{i}.jpg"} for i in (3, 1, 2)]
        boxes = [{"image_id": i, "bbox": [0, 0, 1, i]} for i in (1, 2, 3)]
        path = write_coco(tmp_path, images, boxes)
        chosen = tmp_path / "chosen.txt"
        chosen.write_text("train2014/2.jpg\n\n3.jpg\n")
        listing = read_coco(path, tmp_path, image_list=chosen)
        assert names(listing) == ["3.jpg", "2.jpg"]
        assert [a["image_id"] for a in listing.annotations] == [2, 3]
        assert listing.sources == {"annotations": path, "image_list": chosen}
        chosen.write_text("2.jpg\n7.jpg\n8.jpg\n")
        with pytest.raises(InputError, match=r"2 of its 3 images, such as 7.jpg"):
            read_coco(path, tmp_path, image_list=chosen)
        chosen.write_text("")
        with pytest.raises(InputError, match="lists no images"):
            read_coco(path, tmp_path, image_list=chosen)

    def test_missing_pieces(self, tmp_path):
        with pytest.raises(InputError, match=r"--annotations .*none.json: no such file"):
            read_coco(tmp_path / "none.json", tmp_path)
        path = write_coco(tmp_path, [{"id": 1, "file_name": "a.jpg"}])
        with pytest.raises(InputError, match="--source"):
            read_coco(path, tmp_path / "none")
        with pytest.raises(InputError, match="--image-list"):
            read_coco(path, tmp_path, image_list=tmp_path / "none.txt")


def folder_with_bad(tmp_path, good, bad):
    for i in range(good):
        photo(tmp_path / f"good{i:03}.jpg")
    for i in range(bad):
        (tmp_path / f"bad{i:03}.jpg").touch()
    return read_folder(tmp_path)


class TestMeasure:
    @pytest.mark.parametrize("threads", [1, 4])
    def test_sizes_in_order_and_ids_unchanged_by_skipping(self, tmp_path, threads):
        for i in range(1, 30):
            photo(tmp_path / f"{i:02}.png", width=i, height=2 * i)
        (tmp_path / "07.png").write_bytes(b"GIF89a")
        listing, skipped = measure_images(read_folder(tmp_path), threads)
        expected = [i for i in range(1, 30) if i != 7]
        assert [image["id"] for image in listing.images] == expected
        assert [image["width"] for image in listing.images] == expected
        assert [image["height"] for image in listing.images] == [2 * i for i in expected]
        assert [item["file_name"] for item in skipped] == ["07.png"]

    def test_annotations_of_a_skipped_image_go_with_it(self, tmp_path):
        photo(tmp_path / "a.jpg")
        images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]
        annotations = [{"image_id": 2, "bbox": [0, 0, 1, 1]}, {"image_id": 1, "bbox": [0, 0, 2, 2]}]
        listing, skipped = measure_images(Listing(tmp_path, images, annotations))
        assert [a["image_id"] for a in listing.annotations] == [1]
        assert skipped == [{"file_name": "b.jpg", "reason": "no such file"}]

    def test_size_is_that_of_the_upright_image(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        photo(tmp_path / "a.jpg", width=20, height=10, exif=exif)
        listing, _ = measure_images(read_folder(tmp_path))
        (image,) = listing.images
        assert (image["width"], image["height"]) == (10, 20)
        assert image["crc32"] == zlib.crc32((tmp_path / "a.jpg").read_bytes())

    def test_an_image_whose_annotation_states_another_size_is_skipped(self, tmp_path):
        root = write_voc(tmp_path, ["a", "b"])
        photo(root / "JPEGImages/b.jpg", width=40, height=20)
        listing, skipped = measure_images(read_voc(root, "trainval"))
        assert names(listing) == ["a.jpg"]
        assert skipped == [
            {"file_name": "b.jpg", "reason": "annotated at 20x10 pixels, but decodes to 40x20"}
        ]

    @pytest.mark.parametrize(("good", "bad", "allowed"), [(5, 10, None), (5, 2, 2), (5, 0, 0)])
    def test_within_the_limit(self, tmp_path, good, bad, allowed):
        listing, skipped = measure_images(folder_with_bad(tmp_path, good, bad), 2, allowed)
        assert (len(listing.images), len(skipped)) == (good, bad)

    @pytest.mark.parametrize(("good", "bad", "allowed"), [(5, 11, None), (5, 3, 2), (5, 1, 0)])
    def test_above_the_limit(self, tmp_path, good, bad, allowed):
        message = rf"{bad} of {good + bad} images .*--max-skipped .*bad000.jpg: empty file"
        with pytest.raises(InputError, match=message):
            measure_images(folder_with_bad(tmp_path, good, bad), 2, allowed)

    def test_none_readable_fails_whatever_the_limit(self, tmp_path):
        with pytest.raises(InputError, match=r"none of 2 images can be used.*empty file"):
            measure_images(folder_with_bad(tmp_path, 0, 2), 1, 100)

    def test_digest_follows_names_and_sizes(self, tmp_path):
        photo(tmp_path / "a.jpg")
        before = read_folder(tmp_path).digest()
        assert read_folder(tmp_path).digest() == before
        with open(tmp_path / "a.jpg", "ab") as handle:
            handle.write(b"\0")
        grown = read_folder(tmp_path).digest()
        (tmp_path / "a.jpg").rename(tmp_path / "b.jpg")
        assert len({before, grown, read_folder(tmp_path).digest()}) == 3


@needs_data
class TestRealData:
    """Counts as the data's README gives them."""

    def test_voc07_test395(self):
        source = DATA / "voc07_test395"
        assert len(read_voc(source, "trainval").images) == 300
        listing, skipped = measure_images(read_voc(source, "test"), threads=2)
        assert len(listing.images) == 395
        assert len(listing.annotations) == 1156
        assert skipped == []
        sizes = {image["id"]: (image["width"], image["height"]) for image in listing.images}
        for annotation in listing.annotations:
            x, y, width, height = annotation["bbox"]
            assert min(x, y) >= 0
            assert min(width, height) > 0
            assert x + width <= sizes[annotation["image_id"]][0]
            assert y + height <= sizes[annotation["image_id"]][1]

    def test_coco128(self):
        folder = DATA / "coco128"
        listing, skipped = measure_images(
            read_coco(folder / "annotations/instances_train2017.json", folder / "train2017"), 2
        )
        crowds = sum(annotation["iscrowd"] for annotation in listing.annotations)
        assert len(listing.images) == 128
        assert (len(listing.annotations) - crowds, crowds) == (929, 10)
        assert skipped == []

    def test_flickr30k_sample_as_a_folder(self):
        assert len(read_folder(DATA / "flickr30k_sample").images) == 285 + 80 + 420
