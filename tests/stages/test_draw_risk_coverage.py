"""Curves of risk over coverage, from files of metrics and boxes."""

import csv
import json
import re

import draw_risk_coverage
import numpy as np
import pytest
from PIL import Image

from bbr.storage.boxes_json import write_boxes


@pytest.fixture
def files(tmp_path):
    """Boxes of 10 images, of falling score, of which the first `right` are right."""

    def write(name, right, dataset="scenes07", task="corloc", **labels):
        folder = tmp_path / name
        folder.mkdir()
        boxes = [
            {"image_id": i, "bbox": [0, 0, 9, 9], "score": 1 - i / 10, "category_id": 1}
            for i in range(10)
        ]
        write_boxes(folder / "boxes.json", boxes, {})
        correct = [int(i < right) for i in range(10)]
        content = {
            "task": task,
            "labels": {"dataset": dataset, "method": name, **labels},
            "score": 10.0 * right,
            "outcomes": {"image_id": list(range(10)), "correct": correct},
        }
        (folder / "metrics.json").write_text(json.dumps(content))
        return folder

    return write


def draw(output, *folders, boxes=None):
    metrics = [str(folder / "metrics.json") for folder in folders]
    boxes = boxes or [str(folder / "boxes.json") for folder in folders]
    arguments = ["--metrics", *metrics, "--boxes", *boxes, "--output", str(output)]
    return draw_risk_coverage.main(arguments)


def test_numbers_and_figure(tmp_path, files):
    lost = files("LOST", 5)
    both = lost, files("TokenCut", 8, cad="yes")
    output = tmp_path / "out" / "risk.png"
    assert draw(output, *both, files("MOVE", 10, dataset="scenes12")) == 0
    rows = list(csv.DictReader(output.with_suffix(".csv").read_text().splitlines()))
    assert [row["method"] for row in rows] == ["LOST", "TokenCut + CAD", "MOVE"]
    first = rows[0]
    assert [first[f"CorLoc of {share} %"] for share in (20, 50, 80, 100)] == [
        "100.0",
        "100.0",
        "62.5",
        "50.0",
    ]
    # Wrong from the sixth on: 1/6, 2/7, 3/8, 4/9, 5/10 over ten.
    expected = sum((k - 5) / k for k in range(6, 11)) / 10
    assert float(first["area"]) == float(first["best"]) == pytest.approx(expected, abs=5e-4)
    assert float(first["random"]) == 0.5
    image = np.asarray(Image.open(output).convert("RGB"))
    assert image.shape[1] > image.shape[0]  # two panels side by side
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20
    assert "random order" in output.with_suffix(".md").read_text()


def test_same_bytes_each_time(tmp_path, files):
    folder = files("LOST", 5)
    for name in ("a.png", "b.png"):
        assert draw(tmp_path / name, folder) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_what_does_not_belong_together_is_one_line(tmp_path, files, capsys):
    lost, other = files("LOST", 5), files("TokenCut", 8)
    content = json.loads((lost / "metrics.json").read_text())
    content["provenance"] = {"inputs": {"boxes": "0" * 64}}
    (lost / "metrics.json").write_text(json.dumps(content))
    cases = [
        (("risk.png", lost), {}, "was not measured on"),
        (("risk.pdf", other), {}, "a figure's name ends in .png"),
        (("risk.png", other, other), {"boxes": [str(other / "boxes.json")]}, "goes with its boxes"),
        (("risk.png", files("AP", 5, task="ap")), {}, "a curve is made of corloc"),
    ]
    for (name, *folders), given, message in cases:
        assert draw(tmp_path / name, *folders, **given) == 1
        assert re.fullmatch(rf".* error: .*{message}.*\n", capsys.readouterr().err)
    assert not list(tmp_path.glob("risk.*"))
