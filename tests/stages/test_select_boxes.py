"""select_boxes.py: boxes below a score are left out, images without any listed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import select_boxes

from bbr.storage.boxes_json import read_boxes, read_meta, write_boxes

BOXES = [
    {"image_id": 2, "category_id": 1, "bbox": [0.0, 0.0, 4.0, 4.0], "score": 0.5},
    {"image_id": 2, "category_id": 1, "bbox": [1.0, 1.0, 2.0, 2.0], "score": 0.25},
    {"image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 9.0, 9.0], "score": 0.125},
]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Three images, of which the last has no box."""
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 9, "height": 9} for i in (1, 2, 3)]
    (tmp_path / "index.json").write_text(json.dumps({"images": images}))
    write_boxes(tmp_path / "boxes.json", BOXES, {"stage": "x"}, [{"image_id": 9, "reason": "bad"}])
    return tmp_path


def select(folder: Path, *options: object) -> Path:
    output = folder / "selected.json"
    arguments = ["--index", folder / "index.json", "--boxes", folder / "boxes.json"]
    arguments += ["--output", output, *options]
    assert select_boxes.main([str(argument) for argument in arguments]) == 0
    return output


def test_without_a_score_all_stay(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = select(made)
    assert output.read_bytes() == (made / "boxes.json").read_bytes()
    meta = read_meta(output)
    assert meta["without_boxes"] == [{"image_id": 3, "file_name": "3.jpg"}]
    assert meta["skipped"] == [{"image_id": 9, "reason": "bad"}]
    assert meta["provenance"]["sources"] == [{"stage": "x"}]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("score", "kept", "without"),
    [(0.25, BOXES[:2], [1, 3]), (0.3, BOXES[:1], [1, 3]), (0.6, [], [1, 2, 3])],
)
def test_boxes_below_it_are_left_out(
    made: Path, score: float, kept: list, without: list, capsys: pytest.CaptureFixture[str]
) -> None:
    output = select(made, "--min-score", score)
    assert read_boxes(output) == kept
    assert [image["image_id"] for image in read_meta(output)["without_boxes"]] == without
    told = f"{len(without)} of 3 photographs have no box of a score of at least {score:g} ("
    assert capsys.readouterr().out.startswith(told)


def test_files_that_cannot_be_used_are_told(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((made / "index.json").read_text())
    content.pop("content_sha256", None)
    content["info"] = {"skipped": [{"file_name": "bad.jpg", "reason": "damaged"}]}
    (made / "index.json").write_text(json.dumps(content))
    select(made)
    assert "1 files cannot be used, such as bad.jpg: damaged (" in capsys.readouterr().out


def test_boxes_of_another_index(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_boxes(made / "boxes.json", [{**BOXES[0], "image_id": 7}], {})
    options = ["--index", made / "index.json", "--boxes", made / "boxes.json"]
    assert select_boxes.main([str(o) for o in (*options, "--output", made / "s.json")]) == 1
    assert "does not have (first: 7)" in capsys.readouterr().err
