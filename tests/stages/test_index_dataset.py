"""index_dataset.py through its command line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import index_dataset
import numpy as np
import pytest
from PIL import Image

from bbr.data.index import load_index
from bbr.storage.rle import decode_mask

STAGE = Path(index_dataset.__file__)


@pytest.fixture
def photos(tmp_path):
    """Three photographs, one in a folder of its own, and a corrupt one among them."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(folder / "a b.jpg")
    Image.new("L", (5, 6)).save(folder / "more" / "ü.png")
    Image.new("CMYK", (8, 9)).save(folder / "z.JPG", format="JPEG")
    (folder / "corrupt.jpg").write_bytes((folder / "a b.jpg").read_bytes()[:300])
    return folder


def index(*arguments):
    return index_dataset.main([str(argument) for argument in arguments])


def voc(folder):
    """The smallest dataset in VOC's layout: one image, one dog."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(folder / "JPEGImages/7.jpg")
    (folder / "ImageSets/Main/trainval.txt").write_text("7\n")
    (folder / "Annotations/7.xml").write_text(
        "<annotation><object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin>"
        "<xmax>20</xmax><ymax>9</ymax></bndbox></object></annotation>"
    )
    return folder


class TestFolder:
    def test_index_of_photographs(self, photos, tmp_path):
        output = tmp_path / "results" / "index.json"
        assert index("--format", "folder", "--source", photos, "--output", output) == 0
        got = load_index(output)
        checksums = [image.pop("crc32") for image in got.images]
        assert len(set(checksums)) == 3
        assert got.images == [
            {"id": 1, "file_name": "a b.jpg", "width": 30, "height": 20},
            {"id": 3, "file_name": "more/ü.png", "width": 5, "height": 6},
            {"id": 4, "file_name": "z.JPG", "width": 8, "height": 9},
        ]
        assert all(got.image_path(image).is_file() for image in got.images)
        assert [item["file_name"] for item in got.info["skipped"]] == ["corrupt.jpg"]
        assert got.info["skipped"][0]["reason"].startswith("damaged: ")
        made = got.info["provenance"]
        assert made["stage"] == "index_dataset"
        assert made["parameters"]["format"] == "folder"
        assert len(made["parameters"]["image_files_sha256"]) == 64

    def test_same_bytes_again_with_other_threads_and_in_another_place(self, photos, tmp_path):
        outputs = [tmp_path / f"{name}.json" for name in "ab"]
        for threads, output in zip((1, 2), outputs, strict=True):
            index(
                "--format", "folder", "--source", photos, "--output", output, "--threads", threads
            )
        moved = tmp_path / "elsewhere" / "deeper"
        shutil.copytree(photos, moved / "photos")
        outputs.append(moved / "c.json")
        index("--format", "folder", "--source", moved / "photos", "--output", outputs[-1])
        assert len({output.read_bytes() for output in outputs}) == 1
        assert str(tmp_path) not in outputs[0].read_text()

    def test_output_below_a_linked_folder_still_finds_the_images(self, photos, tmp_path):
        (tmp_path / "scratch" / "deep").mkdir(parents=True)
        (tmp_path / "results").symlink_to(tmp_path / "scratch" / "deep")
        output = tmp_path / "results" / "index.json"
        assert index("--format", "folder", "--source", photos, "--output", output) == 0
        got = load_index(output)
        assert got.image_path(got.images[0]).is_file()

    def test_limit(self, photos, tmp_path):
        output = tmp_path / "index.json"
        index("--format", "folder", "--source", photos, "--output", output, "--limit", 1)
        assert [image["file_name"] for image in load_index(output).images] == ["a b.jpg"]


def test_voc(tmp_path):
    output = tmp_path / "index.json"
    assert index("--format", "voc", "--source", voc(tmp_path / "VOC2007"), "--output", output) == 0
    got = load_index(output)
    assert got.boxes_xyxy(1).tolist() == [[0, 1, 20, 9]]
    assert got.info["image_root"] == "VOC2007/JPEGImages"
    assert got.info["provenance"]["parameters"]["image_set"] == "trainval"
    assert set(got.info["provenance"]["inputs"]) == {"image_set"}


def test_masks_of_coco_lie_in_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned clockwise by a quarter
    for name, more in (("a.jpg", {}), ("b.jpg", {"exif": exif})):
        Image.new("RGB", (30, 20)).save(tmp_path / name, **more)
    images = [
        {"id": number, "file_name": name, "width": 30, "height": 20}
        for number, name in enumerate(("a.jpg", "b.jpg"), 1)
    ]
    corner = [[0, 0, 10, 0, 10, 5, 0, 5]]
    objects = [
        {"id": i, "image_id": image_id, "category_id": 1, "bbox": [0, 0, 10, 5], **mask}
        for i, (image_id, mask) in enumerate(
            [(1, {"segmentation": corner}), (2, {"segmentation": corner}), (1, {})], 1
        )
    ]
    objects[2]["segmentation"] = {"size": [2, 2], "counts": [4]}
    annotations = tmp_path / "instances.json"
    annotations.write_text(
        json.dumps({"images": images, "annotations": objects, "categories": [{"id": 1}]})
    )
    arguments = ["--format", "coco", "--source", tmp_path, "--annotations", annotations]
    assert index(*arguments, "--masks", "--output", tmp_path / "masks.json") == 0
    got = load_index(tmp_path / "masks.json")
    first, second, third = got.annotations
    for annotation, size in ((first, (20, 30)), (second, (30, 20))):
        left, top, width, height = map(int, annotation["bbox"])
        expected = np.zeros(size, bool)
        expected[top : top + height, left : left + width] = True
        assert (decode_mask(annotation["segmentation"]) == expected).all()
    assert second["bbox"] == [15, 0, 5, 10]
    assert "segmentation" not in third
    assert got.info["notes"]["object whose mask is not of its image, or empty"] == 1
    assert index(*arguments, "--output", tmp_path / "plain.json") == 0
    plain = load_index(tmp_path / "plain.json").annotations
    assert not any("segmentation" in annotation for annotation in plain)


def test_coco_with_every_option(photos, tmp_path):
    annotations, chosen = tmp_path / "instances.json", tmp_path / "chosen.txt"
    annotations.write_text(
        json.dumps(
            {
                "images": [{"id": 40, "file_name": "z.JPG"}, {"id": 50, "file_name": "a b.jpg"}],
                "annotations": [
                    {"id": 1, "image_id": 50, "bbox": [0.6, 1, 2, 3], "iscrowd": 0},
                    {"id": 2, "image_id": 50, "bbox": [0, 0, 9, 9], "iscrowd": 1},
                ],
                "categories": [{"id": 1, "name": "dog"}],
            }
        )
    )
    chosen.write_text("a b.jpg\n")
    output = tmp_path / "index.json"
    arguments = ["--format", "coco", "--source", photos, "--annotations", annotations]
    arguments += ["--image-list", chosen, "--round-boxes", "--output", output]
    assert index(*arguments) == 0
    got = load_index(output)
    assert [image["id"] for image in got.images] == [50]
    assert got.boxes_xyxy(50).tolist() == [[1, 1, 3, 4]]
    assert [annotation["iscrowd"] for annotation in got.annotations] == [0, 1]
    assert set(got.info["provenance"]["inputs"]) == {"annotations", "image_list"}


class TestBadInput:
    """Exit status 1, one line on stderr, and no output."""

    def refuse(self, capsys, tmp_path, *arguments):
        output = tmp_path / "out" / "index.json"
        assert index(*arguments, "--output", output) == 1
        errors = capsys.readouterr().err.strip().splitlines()
        message = [line for line in errors if not line.startswith("reading images: ")]
        assert len(message) == 1
        assert not output.exists()
        return message[0]

    def test_no_such_source(self, capsys, tmp_path):
        message = self.refuse(capsys, tmp_path, "--format", "folder", "--source", tmp_path / "none")
        assert "none: no such folder" in message

    def test_no_images(self, capsys, tmp_path):
        message = self.refuse(capsys, tmp_path, "--format", "folder", "--source", tmp_path)
        assert "no images" in message

    def test_more_unreadable_than_allowed(self, capsys, tmp_path, photos):
        message = self.refuse(
            capsys, tmp_path, "--format", "folder", "--source", photos, "--max-skipped", 0
        )
        assert "1 of 4 images" in message
        assert "corrupt.jpg" in message

    def test_only_unreadable(self, capsys, tmp_path):
        (tmp_path / "a.jpg").write_text("text")
        message = self.refuse(capsys, tmp_path, "--format", "folder", "--source", tmp_path)
        assert "none of 1 images" in message

    def test_wrong_image_set(self, capsys, tmp_path):
        source = voc(tmp_path / "VOC2007")
        message = self.refuse(
            capsys, tmp_path, "--format", "voc", "--source", source, "--image-set", "val"
        )
        assert "trainval" in message

    def test_coco_without_annotations(self, capsys, tmp_path):
        message = self.refuse(capsys, tmp_path, "--format", "coco", "--source", tmp_path)
        assert "needs --annotations" in message

    def test_annotations_that_are_not_json(self, capsys, tmp_path):
        (tmp_path / "a.json").write_text("{")
        message = self.refuse(
            capsys,
            tmp_path,
            "--format",
            "coco",
            "--source",
            tmp_path,
            "--annotations",
            tmp_path / "a.json",
        )
        assert "not valid JSON" in message

    @pytest.mark.parametrize(
        "option",
        ["--image-set val", "--annotations a.json", "--image-list a.txt", "--round-boxes"],
    )
    def test_option_of_another_format(self, capsys, tmp_path, photos, option):
        message = self.refuse(
            capsys, tmp_path, "--format", "folder", "--source", photos, *option.split()
        )
        assert f"{option.split()[0]} is for --format" in message

    def test_output_that_cannot_be_written(self, capsys, tmp_path, photos):
        (tmp_path / "file").touch()
        output = tmp_path / "file" / "index.json"
        assert index("--format", "folder", "--source", photos, "--output", output) == 1
        assert "cannot make its folder" in capsys.readouterr().err.splitlines()[-1]

    @pytest.mark.parametrize("option", ["--format pascal", "--limit x", "--seed 1"])
    def test_usage_errors_exit_with_2(self, capsys, tmp_path, option):
        arguments = ["--format", "folder", "--source", tmp_path, "--output", tmp_path / "x.json"]
        with pytest.raises(SystemExit) as caught:
            index(*arguments, *option.split())
        assert caught.value.code == 2


def test_as_a_script_from_another_folder(tmp_path):
    command = [sys.executable, STAGE, "--format", "folder", "--source", ".", "--output", "i.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
