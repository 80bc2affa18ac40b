"""draw_boxes.py on the command line."""

import json
import re

import draw_boxes
import numpy as np
import pytest
from PIL import Image

from bbr.storage.json_files import read_json
from bbr.storage.rle import encode_mask


def box(image_id):
    return {"image_id": image_id, "category_id": 1, "bbox": [5, 5, 30, 20], "score": 1.0}


@pytest.fixture
def dataset(tmp_path):
    """Six images of different shapes, one of which cannot be decoded, and boxes on them."""
    rng = np.random.default_rng(0)
    shapes = [(60, 80), (80, 60), (32, 32), (40, 120), (120, 40), (50, 50)]
    images = []
    for i, (height, width) in enumerate(shapes, start=1):
        name = f"{i}.png"
        noise = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
        images.append({"id": i, "file_name": name, "width": width, "height": height})
    (tmp_path / "6.png").write_bytes(b"not an image")
    truths = [{"image_id": 1, "bbox": [4, 4, 30, 22], "category_id": 1, "iscrowd": 0}]
    index = {"info": {"image_root": "."}, "images": images, "annotations": truths}
    (tmp_path / "index.json").write_text(json.dumps(index))
    (tmp_path / "a.json").write_text(json.dumps([box(i) for i in range(1, 6)]))
    (tmp_path / "b.json").write_text(json.dumps([box(1)]))
    return tmp_path


def draw(folder, *more, boxes=("a.json",), output="sheet.png"):
    paths = [str(folder / name) for name in boxes]
    return draw_boxes.main(
        [
            "--index",
            str(folder / "index.json"),
            "--boxes",
            *paths,
            "--output",
            str(folder / output),
            *more,
        ]
    )


def test_sheet_of_two_methods(dataset):
    assert draw(dataset, "--names", "LOST", "LOST, f^h", boxes=("a.json", "b.json")) == 0
    with Image.open(dataset / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert min(sheet.size) > 200


def test_same_bytes_each_time(dataset):
    for name in ("one.png", "two.png"):
        assert draw(dataset, "--seed", "3", "--count", "4", output=name) == 0
    assert (dataset / "one.png").read_bytes() == (dataset / "two.png").read_bytes()


def test_another_seed_chooses_other_images(dataset):
    for seed in ("0", "1"):
        assert draw(dataset, "--count", "2", "--seed", seed, output=f"{seed}.png") == 0
    assert (dataset / "0.png").read_bytes() != (dataset / "1.png").read_bytes()


def test_without_ground_truth(dataset):
    index = read_json(dataset / "index.json")
    del index["annotations"]
    (dataset / "index.json").write_text(json.dumps(index))
    assert draw(dataset) == 0


def test_unreadable_image_is_left_out_and_named(dataset, capsys):
    assert draw(dataset) == 0
    assert re.fullmatch(r"left out: .*6\.png: not .*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("more", "boxes", "message"),
    [
        (("--names", "A"), ("a.json", "b.json"), "2 --boxes and 1 --names"),
        ((), ("a.json",) * 8, "at most 7 files"),
        (("--count", "501"), ("a.json",), r"--count 501 is not in \[1, 500\]"),
        ((), ("none.json",), "cannot be read"),
    ],
)
def test_bad_input_is_one_line(dataset, capsys, more, boxes, message):
    assert draw(dataset, *more, boxes=boxes) == 1
    assert re.fullmatch(rf".* error: .*{message}.*\n", capsys.readouterr().err)
    assert not (dataset / "sheet.png").exists()


def test_output_must_be_png(dataset, capsys):
    assert draw(dataset, output="sheet.jpg") == 1
    assert re.fullmatch(r".* error: .*\.png\n", capsys.readouterr().err)


def test_boxes_of_another_index(dataset, capsys):
    (dataset / "a.json").write_text(json.dumps([box(77)]))
    assert draw(dataset) == 1
    assert re.fullmatch(r".* error: .*1 image ids .*first: 77.*\n", capsys.readouterr().err)


def test_no_image_can_be_read(dataset, capsys):
    for i in range(1, 6):
        (dataset / f"{i}.png").unlink()
    assert draw(dataset, "--count", "1") == 1
    assert re.search(r"error: .*none of the 1 images.*\n\Z", capsys.readouterr().err)


def test_masks_are_tinted(dataset, capsys):
    mask = np.zeros((60, 80), dtype=bool)
    mask[10:20, 10:30] = True
    record = {**box(1), "segmentation": encode_mask(mask)}
    sheets = []
    for name, records in (("plain", [box(1)]), ("masked", [record])):
        (dataset / "one.json").write_text(json.dumps(records))
        assert draw(dataset, "--count", "1", boxes=("one.json",), output=f"{name}.png") == 0
        sheets.append(np.asarray(Image.open(dataset / f"{name}.png").convert("RGB"), dtype=int))
    changed = (abs(sheets[0] - sheets[1]) > 30).any(axis=2)  # and not what enlarging blurs
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    ratio = len(range(columns[0], columns[-1])) / len(range(rows[0], rows[-1]))
    assert ratio == pytest.approx(2, rel=0.1)  # 20 by 10 pixels
    record["segmentation"] = [[1, 1, 5, 1, 5, 5]]  # of boxes made elsewhere, and not drawn
    (dataset / "one.json").write_text(json.dumps([record]))
    assert draw(dataset, "--count", "1", boxes=("one.json",)) == 0
    record["segmentation"] = encode_mask(mask[:50])
    (dataset / "one.json").write_text(json.dumps([record]))
    assert draw(dataset, "--count", "1", boxes=("one.json",)) == 1
    assert "is not of an image of 80×60; make the boxes again" in capsys.readouterr().err
