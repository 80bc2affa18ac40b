"""heatmap_boxes.py on the command line."""

import json

import heatmap_boxes
import numpy as np
import pytest
import torch

from bbr.grounding.heatmaps_h5 import create_heatmaps


@pytest.fixture
def index(tmp_path):
    images = [
        {"id": 1, "file_name": "1.jpg", "width": 40, "height": 20},
        {"id": 2, "file_name": "2.jpg", "width": 10, "height": 10},
    ]
    path = tmp_path / "index.json"
    path.write_text(json.dumps({"images": images}))
    return path


def write(path, rows, size=(20, 20)):
    with create_heatmaps(path, size=size, provenance={}) as writer:
        for (image_id, phrase_id), heatmap in rows.items():
            writer.append(image_id, phrase_id, torch.from_numpy(heatmap))
    return path


def canvas(*patches):
    heatmap = np.zeros((20, 20), np.float32)
    for (y1, y2, x1, x2), value in patches:
        heatmap[y1:y2, x1:x2] = value
    return heatmap


def run(heatmaps, index, output, *more):
    files = ["--heatmaps", heatmaps, "--index", index, "--output", output]
    return heatmap_boxes.main([*map(str, files), *more])


def boxes(path):
    records = json.loads(path.read_text())
    return [(r["image_id"], r["phrase_id"], r["bbox"], r["score"]) for r in records]


def test_boxes_are_in_pixels_of_the_image(tmp_path, index):
    two = canvas(((0, 10, 0, 5), 1.0), ((12, 18, 10, 16), 0.75))
    rows = {(1, 7): two, (2, 7): canvas(((4, 10, 6, 12), 0.25)), (1, 8): canvas()}
    path, output = write(tmp_path / "h.h5", rows), tmp_path / "boxes.json"
    absolute = ["--box-threshold", "absolute"]
    assert run(path, index, output, "--mode", "pseudo", *absolute) == 0
    assert boxes(output) == [
        (1, 7, [0, 0, 10, 10], 1.0),
        (1, 7, [20, 12, 12, 6], 0.75),
        (2, 7, [3, 2, 3, 3], 0.25),
    ]
    # 0.25 is below the absolute threshold
    assert run(path, index, output, "--mode", "evaluation", *absolute) == 0
    assert {record[0] for record in boxes(output)} == {1}
    meta = json.loads((tmp_path / "boxes.meta.json").read_text())
    assert meta["provenance"]["parameters"] == {
        "mode": "evaluation",
        "nms_boxes": "xyxy",
        "box_threshold": "absolute",
    }


def test_the_released_threshold_is_the_default_of_both_modes(tmp_path, index):
    path = write(tmp_path / "h.h5", {(2, 7): canvas(((4, 10, 6, 12), 0.25))})
    for mode in ("pseudo", "evaluation"):
        output = tmp_path / f"{mode}.json"
        assert run(path, index, output, "--mode", mode) == 0
        assert boxes(output) == [(2, 7, [3, 2, 3, 3], 1.0)]


def test_conventions_of_suppression(tmp_path, index):
    upper = ((9, 10, 6, 14), 1.0), ((9, 13, 13, 14), 1.0)
    lower = ((9, 18, 2, 3), 1.0), ((17, 18, 2, 7), 1.0)
    path = write(tmp_path / "h.h5", {(1, 7): canvas(*upper, *lower)})
    for convention, count in (("xyxy", 1), ("xywh", 2)):
        output = tmp_path / f"{convention}.json"
        assert run(path, index, output, "--mode", "pseudo", "--nms-boxes", convention) == 0
        assert len(boxes(output)) == count


def test_same_bytes_each_time(tmp_path, index):
    path = write(tmp_path / "h.h5", {(1, 7): canvas(((0, 10, 0, 5), 0.3))})
    made = []
    for name in "ab":
        assert run(path, index, tmp_path / f"{name}.json", "--mode", "pseudo") == 0
        made.append((tmp_path / f"{name}.json").read_bytes())
    assert made[0] == made[1]


def test_heatmaps_of_another_index(tmp_path, index, refused):
    path = write(tmp_path / "h.h5", {(5, 7): canvas()})
    message = refused(
        heatmap_boxes,
        "--heatmaps",
        path,
        "--index",
        index,
        "--mode",
        "pseudo",
        output=tmp_path / "boxes.json",
    )
    assert "of 1 images" in message


def test_a_file_that_is_none(tmp_path, index, refused):
    message = refused(
        heatmap_boxes,
        "--heatmaps",
        index,
        "--index",
        index,
        "--mode",
        "pseudo",
        output=tmp_path / "boxes.json",
    )
    assert "not a readable HDF5 file" in message
