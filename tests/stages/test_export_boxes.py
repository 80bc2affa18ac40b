"""stages/export_boxes.py: what other tools read is what was found."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import export_boxes
import index_dataset
import numpy as np
import pytest
import yaml
from odd_inputs import photo
from PIL import Image, ImageOps
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from supervision import DetectionDataset

from bbr.reporting.exports import FORMATS
from bbr.storage.boxes_json import write_boxes
from bbr.storage.rle import encode_mask

# Of a.jpg (64 × 48) two boxes, of sub/b c.jpg (48 × 64) one, of c.jpg none.
BOXES = [
    {"image_id": 1, "category_id": 1, "bbox": [4, 6, 20.5, 30], "score": 0.75},
    {"image_id": 1, "category_id": 3, "bbox": [0, 0, 64, 48], "score": 0.5},
    {"image_id": 3, "category_id": 3, "bbox": [10, 12, 30, 40], "score": 0.25},
]


@pytest.fixture
def found(tmp_path):
    """An index of three photographs and the boxes found in them."""
    photo(tmp_path / "photos/a.jpg")
    photo(tmp_path / "photos/c.jpg")
    photo(tmp_path / "photos/sub/b c.jpg", 48, 64)
    arguments = ["--format", "folder", "--source", tmp_path / "photos"]
    arguments += ["--output", tmp_path / "index.json"]
    assert index_dataset.main([str(argument) for argument in arguments]) == 0
    write_boxes(tmp_path / "boxes.json", BOXES, {})
    return tmp_path


def export(folder, layout, *options):
    """The folder that was written."""
    output = folder / "export" / layout
    arguments = ["--format", layout, "--index", folder / "index.json"]
    arguments += ["--boxes", folder / "boxes.json", "--folder", output, *options]
    assert export_boxes.main([str(argument) for argument in arguments]) == 0
    return output


class TestCoco:
    def test_pycocotools_loads_it(self, found):
        folder = export(found, "coco")
        coco = COCO(str(folder / "annotations.json"))
        assert [category["name"] for category in coco.loadCats([1, 3])] == ["object 1", "object 3"]
        annotations = coco.loadAnns(coco.getAnnIds())
        kept = ("image_id", "category_id", "bbox", "score")
        assert [{key: a[key] for key in kept} for a in annotations] == BOXES
        assert annotations[0]["area"] == 20.5 * 30
        for image in coco.loadImgs(coco.getImgIds()):
            with Image.open(folder / "images" / image["file_name"]) as opened:
                assert opened.size == (image["width"], image["height"])
        mask = coco.annToMask(annotations[2])
        assert mask.shape == (64, 48)
        assert mask.sum() == pytest.approx(30 * 40, rel=0.1)

    def test_masks_are_polygons(self, found):
        mask = np.zeros((48, 64), dtype=bool)
        mask[6:30, 4:20] = mask[20:30, 4:24] = True
        masked = [{**BOXES[0], "segmentation": encode_mask(mask)}, *BOXES[1:]]
        write_boxes(found / "boxes.json", masked, {})
        coco = COCO(str(export(found, "coco") / "annotations.json"))
        (polygon,) = coco.anns[1]["segmentation"]
        assert len(polygon) <= 2 * 8  # the corners of an L, one of them perhaps twice
        assert coco.anns[1]["area"] == mask.sum()
        assert (coco.annToMask(coco.anns[1]) == mask).all()

    def test_the_thinnest_masks_are_polygons_too(self, found):
        mask = np.zeros((48, 64), dtype=bool)
        mask[6, 4:20] = mask[9:20, 5] = mask[40, 60] = True
        masked = [{**BOXES[0], "segmentation": encode_mask(mask)}, *BOXES[1:]]
        write_boxes(found / "boxes.json", masked, {})
        coco = COCO(str(export(found, "coco") / "annotations.json"))
        assert len(coco.anns[1]["segmentation"]) == 3
        assert (coco.annToMask(coco.anns[1]) == mask).all()

    def test_polygons_of_boxes_made_elsewhere_are_left_out(self, found):
        records = [{**BOXES[0], "segmentation": [[1, 1, 5, 1, 5, 5]]}, *BOXES[1:]]
        (found / "boxes.json").write_text(json.dumps(records))
        (found / "boxes.meta.json").unlink()
        coco = COCO(str(export(found, "coco") / "annotations.json"))
        assert coco.anns[1]["segmentation"][0][:2] == BOXES[0]["bbox"][:2]

    def test_cocoeval_with_its_defaults(self, found):
        """The boxes as results, against themselves as truth."""
        coco = COCO(str(export(found, "coco") / "annotations.json"))
        evaluation = COCOeval(coco, coco.loadRes(str(found / "boxes.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == 1


class TestFiftyOne:
    """The layout of its COCODetectionDataset, which is COCO's with other names of files."""

    def test_the_same_as_coco_under_its_names(self, found):
        folder = export(found, "fiftyone", "--clusters", 3)
        assert sorted(path.name for path in folder.iterdir()) == ["data", "labels.json"]
        same = export(found, "coco", "--clusters", 3)
        assert (folder / "labels.json").read_bytes() == (same / "annotations.json").read_bytes()
        links = {path.relative_to(folder / "data") for path in folder.glob("data/**/*.jpg")}
        assert links == {path.relative_to(same / "images") for path in same.glob("images/**/*.jpg")}
        # What it takes as confidence, and as the label: the place of an id in a list from 0 on.
        content = json.loads((folder / "labels.json").read_text())
        assert [a["score"] for a in content["annotations"]] == [0.75, 0.5, 0.25]
        assert all(type(c["id"]) is int and c["id"] >= 0 for c in content["categories"])

    def test_pycocotools_and_supervision_load_it(self, found):
        folder = export(found, "fiftyone", "--names", _names(found))
        coco = COCO(str(folder / "labels.json"))
        assert coco.getCatIds(catNms=["cat"]) == [1]
        assert [coco.anns[i]["bbox"] for i in (1, 2, 3)] == [box["bbox"] for box in BOXES]
        for image in coco.loadImgs(coco.getImgIds()):
            assert (folder / "data" / image["file_name"]).is_file()
        read = DetectionDataset.from_coco(str(folder / "data"), str(folder / "labels.json"))
        assert read.classes == ["cat", "object"]
        assert TestSupervision.boxes(read)["b c.jpg"] == [(10, 12, 40, 52)]


class TestYolo:
    def test_labels_come_back_as_boxes(self, found):
        folder = export(found, "yolo", "--names", _names(found))
        data = yaml.safe_load((folder / "data.yaml").read_text())
        assert data["names"] == {0: "cat", 1: "object"}
        listed = (Path(data["path"]) / data["train"]).read_text().splitlines()
        # c.jpg has no box, which does not say that nothing is there.
        assert listed == ["./images/a.jpg", "./images/sub/b c.jpg"]
        assert not (folder / "images/c.jpg").exists()
        assert not (folder / "labels/c.txt").exists()
        back = []
        for i, name in zip((1, 3), listed, strict=True):
            # As Ultralytics finds them: images becomes labels, the ending .txt.
            image = folder / name
            text = Path(str(image).replace("/images/", "/labels/")).with_suffix(".txt").read_text()
            with Image.open(image) as opened:
                size = np.array([*opened.size, *opened.size])
            for line in text.splitlines():
                category, *values = map(float, line.split())
                x, y, width, height = np.array(values) * size
                box = [x - width / 2, y - height / 2, width, height]
                back.append((i, category, box))
        assert [(i, c) for i, c, _ in back] == [(1, 0), (1, 1), (3, 1)]
        boxes = [box["bbox"] for box in BOXES]
        assert np.allclose([box for _, _, box in back], boxes, atol=1e-3)

    def test_again_over_what_is_there(self, found):
        first = export(found, "yolo")
        before = {p: p.read_bytes() for p in first.rglob("*") if p.is_file()}
        assert export(found, "yolo") == first
        assert {p: p.read_bytes() for p in first.rglob("*") if p.is_file()} == before

    def test_links_follow_photographs_that_were_moved(self, found):
        link = export(found, "yolo") / "images/a.jpg"
        link.unlink()
        link.symlink_to(found / "former place/a.jpg")
        export(found, "yolo")
        assert os.path.samefile(link, found / "photos/a.jpg")

    def test_links_stay_inside_of_the_folder_where_the_disk_is_the_same(self, found, monkeypatch):
        """Some tools refuse links that lead out of it."""
        link = export(found, "coco") / "images/a.jpg"
        assert not link.is_symlink()
        link.unlink()

        def refuse(*_):
            raise OSError(errno.EXDEV, "another disk")

        monkeypatch.setattr(os, "link", refuse)
        export(found, "coco")
        assert link.resolve() == (found / "photos/a.jpg").resolve()
        monkeypatch.undo()
        export(found, "coco")
        assert not link.is_symlink()  # and not left as another export had it

    def test_another_file_of_the_same_name_is_not_replaced(self, found, capsys):
        own = export(found, "yolo") / "images/a.jpg"
        own.unlink()
        own.write_bytes(b"mine")
        arguments = ("--index", found / "index.json", "--boxes", found / "boxes.json")
        folder = own.parents[1]
        told = ["--format", "yolo", *map(str, arguments), "--folder", str(folder)]
        assert export_boxes.main(told) == 1
        assert "remove it, or name another folder" in capsys.readouterr().err
        assert own.read_bytes() == b"mine"


class TestSupervision:
    """It reads both forms, as its users do."""

    @staticmethod
    def boxes(dataset):
        return {
            Path(path).name: [tuple(box) for box in np.asarray(found.xyxy).round(1).tolist()]
            for path, _, found in dataset
        }

    def test_coco(self, found):
        folder = export(found, "coco", "--names", _names(found))
        read = DetectionDataset.from_coco(str(folder / "images"), str(folder / "annotations.json"))
        assert read.classes == ["cat", "object"]
        assert self.boxes(read) == {
            "a.jpg": [(4, 6, 24.5, 36), (0, 0, 64, 48)],
            "b c.jpg": [(10, 12, 40, 52)],
        }

    def test_yolo(self, found):
        """It looks into one folder of images, not below it."""
        folder = export(found, "yolo", "--names", _names(found))
        places = (folder / "images", folder / "labels", folder / "data.yaml")
        read = DetectionDataset.from_yolo(*map(str, places))
        assert read.classes == ["cat", "object"]
        assert self.boxes(read)["a.jpg"] == [(4, 6, 24.5, 36), (0, 0, 64, 48)]


class TestLabelme:
    def test_shapes_and_photographs(self, found):
        folder = export(found, "labelme")
        content = json.loads((folder / "sub/b c.json").read_text())
        (shape,) = content["shapes"]
        assert (shape["shape_type"], shape["label"]) == ("rectangle", "object 3")
        assert shape["points"] == [[10, 12], [40, 52]]
        assert (folder / "sub" / content["imagePath"]).resolve().name == "b c.jpg"
        assert (content["imageHeight"], content["imageWidth"]) == (64, 48)
        assert json.loads((folder / "c.json").read_text())["shapes"] == []

    def test_what_its_loader_asks_for(self, found):
        """`LabelFile.load` of labelme, a Qt program that is not installed here."""
        image = Image.open(found / "photos/a.jpg")
        exif = image.getexif()
        exif[0x0112] = 6  # EXIF: to be turned by a quarter, as its loader does
        image.save(found / "photos/a.jpg", exif=exif)
        (found / "index.json").unlink()
        arguments = ["--format", "folder", "--source", found / "photos"]
        arguments += ["--output", found / "index.json"]
        assert index_dataset.main([str(argument) for argument in arguments]) == 0
        folder = export(found, "labelme", "--clusters", 3, "--names", _names(found))
        files = sorted(folder.glob("**/*.json"))
        assert [str(file.relative_to(folder)) for file in files] == [
            "a.json",
            "c.json",
            "sub/b c.json",
        ]
        for file in files:
            _require_labelme(json.loads(file.read_text(encoding="utf-8")), file)


def _require_labelme(content, file):
    """What each member of a label file has to be, one by one."""
    members = {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"}
    assert content.keys() == members  # others would be kept as otherData
    assert isinstance(content["version"], str)
    assert content["flags"] == {}  # of text to bool
    # Without data, the photograph is read from a path that starts at the label file.
    assert content["imageData"] is None
    assert isinstance(content["imagePath"], str)
    assert "\\" not in content["imagePath"]  # which it takes for a slash
    with Image.open(os.path.join(os.path.dirname(file), content["imagePath"])) as image:
        upright = ImageOps.exif_transpose(image)
    assert (content["imageWidth"], content["imageHeight"]) == upright.size
    members = {"label", "points", "group_id", "shape_type", "flags", "description", "mask"}
    for shape in content["shapes"]:
        assert shape.keys() == members
        assert isinstance(shape["label"], str)
        assert shape["label"]
        assert shape["shape_type"] == "rectangle"
        assert len(shape["points"]) == 2  # opposite corners
        for point in shape["points"]:
            assert isinstance(point, list)
            assert len(point) == 2
            assert all(isinstance(value, int | float) for value in point)
        assert shape["flags"] == {}  # of text to bool
        assert isinstance(shape["description"], str)
        assert shape["group_id"] is None  # or a whole number
        assert shape["mask"] is None  # or a PNG as text, of a shape that is a mask


class TestChoices:
    def test_min_score(self, found):
        folder = export(found, "coco", "--min-score", 0.5)
        coco = json.loads((folder / "annotations.json").read_text())
        assert [a["score"] for a in coco["annotations"]] == [0.75, 0.5]
        # That there is no sure box does not say that nothing is there.
        assert [image["file_name"] for image in coco["images"]] == ["a.jpg"]

    def test_one_unnamed_class_has_no_number(self, found):
        write_boxes(found / "boxes.json", BOXES[:1], {})
        coco = json.loads((export(found, "coco") / "annotations.json").read_text())
        assert [(c["id"], c["name"]) for c in coco["categories"]] == [(1, "object")]

    def test_no_boxes_at_all(self, found):
        write_boxes(found / "boxes.json", [], {})
        coco = json.loads((export(found, "coco") / "annotations.json").read_text())
        assert coco["annotations"] == []
        assert len(coco["categories"]) == 1


class TestClusters:
    """Categories are clusters: of 4, boxes are of 1 and 3."""

    def test_all_have_a_name_in_every_form(self, found):
        names = found / "names.txt"
        names.write_text("# mine\n3: no\n2:\n", encoding="utf-8")  # not false, and nothing
        options = ("--clusters", 4, "--names", names)
        expected = ["cluster 1", "cluster 2", "no", "cluster 4"]
        coco = COCO(str(export(found, "coco", *options) / "annotations.json"))
        assert [category["name"] for category in coco.loadCats([1, 2, 3, 4])] == expected
        data = yaml.safe_load((export(found, "yolo", *options) / "data.yaml").read_text())
        assert data["names"] == dict(enumerate(expected))
        shapes = json.loads((export(found, "labelme", *options) / "a.json").read_text())["shapes"]
        assert [shape["label"] for shape in shapes] == ["cluster 1", "no"]

    def test_one_without_a_name_has_its_number_all_the_same(self, found):
        folder = export(found, "coco", "--clusters", 3, "--min-score", 0.7)
        coco = json.loads((folder / "annotations.json").read_text())
        assert [c["name"] for c in coco["categories"]] == ["cluster 1", "cluster 2", "cluster 3"]
        assert len(coco["annotations"]) == 1

    def test_those_of_one_name_are_one_class(self, found):
        names = found / "names.yaml"
        names.write_text("1: cat\n2: dog\n3: ' cat '\n", encoding="utf-8")
        options = ("--clusters", 3, "--names", names)
        coco = json.loads((export(found, "coco", *options) / "annotations.json").read_text())
        assert [(c["id"], c["name"]) for c in coco["categories"]] == [(1, "cat"), (2, "dog")]
        assert [a["category_id"] for a in coco["annotations"]] == [1, 1, 1]
        folder = export(found, "yolo", *options)
        assert yaml.safe_load((folder / "data.yaml").read_text())["names"] == {0: "cat", 1: "dog"}
        assert (folder / "labels/sub/b c.txt").read_text().startswith("0 ")

    def test_without_clusters_there_is_one_class(self, found, capsys):
        write_boxes(found / "boxes.json", BOXES[:1], {})
        options = ("--clusters", 1, "--names", _names(found))
        coco = json.loads((export(found, "coco", *options) / "annotations.json").read_text())
        assert [(c["id"], c["name"]) for c in coco["categories"]] == [(1, "cat")]
        coco = json.loads((export(found, "coco", "--clusters", 1) / "annotations.json").read_text())
        assert [(c["id"], c["name"]) for c in coco["categories"]] == [(1, "object")]
        names = found / "more.txt"
        names.write_text("1: cat\n2: dog\n")
        line = _refused(found, capsys, "coco", "--clusters", 1, "--names", names)
        assert "more.txt: has cluster 2, and there is only 1" in line

    def test_clusters_that_there_are_not(self, found, capsys):
        names = found / "names.txt"
        names.write_text("0: cat\n1: dog\n")
        line = _refused(found, capsys, "yolo", "--clusters", 4, "--names", names)
        assert "names.txt: has cluster 0, and numbers go from 1 to 4; change the number" in line
        line = _refused(found, capsys, "yolo", "--clusters", 2)
        assert "boxes.json: has cluster 3, and numbers go from 1 to 2" in line

    @pytest.mark.parametrize("content", [b"1 cat", b"- cat", b"one: cat", b"1: [", b"\xff: cat"])
    def test_what_is_no_names(self, found, capsys, content):
        names = found / "names.txt"
        names.write_bytes(content)
        line = _refused(found, capsys, "coco", "--clusters", 3, "--names", names)
        assert "names.txt: not " in line


def _names(folder):
    path = folder / "names.json"
    path.write_text('{"1": "cat"}')
    return path


def _refused(folder, capsys, layout="coco", *options):
    arguments = ["--format", layout, "--index", folder / "index.json"]
    arguments += ["--boxes", folder / "boxes.json", "--folder", folder / "x", *options]
    assert export_boxes.main([str(argument) for argument in arguments]) == 1
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_bad_input(found, capsys):
    names = found / "names.json"
    names.write_text('{"cat": 1}')
    assert "names by category_id" in _refused(found, capsys, "coco", "--names", names)
    write_boxes(found / "boxes.json", [{**BOXES[0], "image_id": 9}], {})
    assert "does not have (first: 9)" in _refused(found, capsys)


@pytest.mark.parametrize("layout", FORMATS)
def test_names_that_lead_out_of_the_folder(found, layout):
    """As of an index whose images lie beside its image_root."""
    content = json.loads((found / "index.json").read_text())
    content["info"]["image_root"] = "elsewhere/deeper"
    (found / "elsewhere/deeper").mkdir(parents=True)
    for image in content["images"]:
        image["file_name"] = f"../../photos/{image['file_name']}"
    del content["content_sha256"]
    (found / "index.json").write_text(json.dumps(content))
    before = {path for path in found.rglob("*") if "export" not in path.parts}
    folder = export(found, layout)
    assert {path for path in found.rglob("*") if "export" not in path.parts} == before
    assert list(folder.rglob("b c.*")), "under the photograph's own name"
    if layout != "labelme":
        photographs = "data" if layout == "fiftyone" else "images"
        assert (folder / photographs / "photos/sub/b c.jpg").is_file()


def _box_everything(found):
    """A box in each image of the index: those without are left out."""
    ids = [image["id"] for image in json.loads((found / "index.json").read_text())["images"]]
    write_boxes(found / "boxes.json", [{**BOXES[0], "image_id": i} for i in ids], {})


def test_two_photographs_of_one_name(found, capsys):
    content = json.loads((found / "index.json").read_text())
    del content["content_sha256"]
    content["images"][1]["file_name"] = "sub/../../photos/../a.jpg"
    content["images"][0]["file_name"] = "sub/photos/a.jpg"
    (found / "index.json").write_text(json.dumps(content))
    _box_everything(found)
    assert "would both be sub/photos/a.jpg; rename one" in _refused(found, capsys)


def test_two_photographs_of_one_stem(found, capsys):
    photo(found / "photos/a.png")
    (found / "index.json").unlink()
    arguments = ["--format", "folder", "--source", found / "photos"]
    arguments += ["--output", found / "index.json"]
    assert index_dataset.main([str(argument) for argument in arguments]) == 0
    _box_everything(found)
    message = _refused(found, capsys, "yolo")
    assert "a.jpg and a.png would both have a.txt" in message
