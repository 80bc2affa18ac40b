"""Outcomes of each task by hand, and what scores are made of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bbr.data.index import Index
from bbr.data.phrases import Phrase
from bbr.errors import InputError
from bbr.evaluation.outcomes import (
    accuracy_outcomes,
    corloc_outcomes,
    find_unions,
    pointing_outcomes,
    score,
    scores_by_group,
)
from bbr.evaluation.phrase_metrics import Target


def index(*boxes: list[int]) -> Index:
    """An image for each box [x, y, width, height], with a phrase of it; ids from 1."""
    numbers = range(1, len(boxes) + 1)
    images = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 100} for i in numbers]
    annotations = [
        {"image_id": i, "bbox": box, "phrase_id": 10 * i, "phrases": ["a mug"]}
        for i, box in zip(numbers, boxes, strict=True)
    ]
    return Index(images, annotations, [], {}, Path("index.json"))


def write(path: Path, *records: tuple[int, int, list[int]]) -> Path:
    """Boxes of (image id, phrase id, [x, y, width, height])."""
    names = ("image_id", "phrase_id", "bbox")
    path.write_text(json.dumps([{**dict(zip(names, r, strict=True)), "score": 1} for r in records]))
    return path


def target(image_id: int, phrase_id: int, box: list[float]) -> Target:
    return Target(Phrase(image_id, phrase_id, ("x",), np.array([box]), 1), (100, 100))


def test_corloc_by_hand(tmp_path: Path) -> None:
    """A box of the same size, moved by a third of its width: IoU 20 / 40."""
    boxes = write(tmp_path / "b.json", (1, 0, [10, 0, 30, 30]), (2, 0, [11, 0, 30, 30]))
    found, scores = corloc_outcomes(index([0, 0, 30, 30], [0, 0, 30, 30], [5, 5, 9, 9]), boxes)
    assert found["image_id"] == [1, 2, 3]
    assert found["correct"] == [1, 0, 0]
    assert found["iou"] == [0.5, round(19 / 41, 6), 0.0]
    assert scores == {}


def test_nothing_to_score_against(tmp_path: Path) -> None:
    bare = Index([{"id": 1, "file_name": "1.png"}], [], [], {}, Path("index.json"))
    with pytest.raises(InputError, match="no ground-truth boxes"):
        corloc_outcomes(bare, write(tmp_path / "b.json"))


def test_unions_of_phrases_and_of_captions(tmp_path: Path) -> None:
    of_phrases = write(tmp_path / "p.json", (1, 10, [0, 0, 10, 10]), (1, 10, [20, 20, 10, 10]))
    dataset = index([0, 0, 30, 30])
    found = find_unions(dataset, of_phrases)
    assert {unit: union.tolist() for unit, union in found.items()} == {(1, 10): [0, 0, 30, 30]}
    of_captions = write(tmp_path / "c.json", (1, 3, [0, 0, 10, 10]))
    found = find_unions(dataset, of_captions, {(1, 10): (1, 3), (1, 11): (1, 4)})
    assert {unit: union.tolist() for unit, union in found.items()} == {(1, 10): [0, 0, 10, 10]}
    with pytest.raises(InputError, match="no phrase 3 of image 1"):
        find_unions(dataset, of_captions)


def test_points_and_unions_of_targets() -> None:
    targets = [target(1, 10, [0, 0, 10, 10]), target(2, 20, [0, 0, 10, 10])]
    units = {"image_id": [1, 2], "phrase_id": [10, 20]}
    points = {(1, 10): (5.0, 5.0), (2, 20): (10.0, 5.0)}
    assert pointing_outcomes(targets, points, "boxes") == {**units, "correct": [1, 0]}
    unions = {(1, 10): np.array([0.0, 0, 10, 5])}
    expected = {**units, "correct": [1, 0], "iou": [0.5, 0.0]}
    assert accuracy_outcomes(targets, unions) == expected


def test_scores_by_hand() -> None:
    assert score([1, 1, 1], [1, 2, 2]) == {
        "score": 100.0,
        "interval": [100.0, 100.0],
        "correct": 3,
        "count": 3,
    }
    outcomes = {"correct": [1, 0, 0], "image_id": [1, 1, 2]}
    found = scores_by_group(outcomes, {"size": ["small", "large", "small"]})
    assert list(found["size"]) == ["large", "small"]
    counts = {group: (s["correct"], s["count"]) for group, s in found["size"].items()}
    assert counts == {"large": (0, 1), "small": (1, 2)}
