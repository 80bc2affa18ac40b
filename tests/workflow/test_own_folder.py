"""A folder of one's own: what a change of it reruns, and what is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workflow_copies import Repository

TARGET = "results/mine/boxes.json"
OPTIONS = ("--config", "images=photos", "method=selective_search")


def _photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)
    Image.fromarray(pixels).resize((50, 40), Image.Resampling.NEAREST).save(path)


@pytest.fixture(scope="module")
def done(pristine: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A copy in which the boxes of three photographs were made."""
    made = pristine.copy(tmp_path_factory.mktemp("own"))
    for i, name in enumerate(("a.png", "b.png", "sub/c.png")):
        _photo(made.root / "photos" / name, i)
    made.snakemake(TARGET, "--cores", "1", *OPTIONS)
    return made


def test_what_is_no_change_redoes_nothing(
    done: Repository, tmp_path: Path, note: Callable[[str, str, str], None]
) -> None:
    clone = done.copy(tmp_path / "moved clone")
    photos = clone.root / "photos"
    for name in (".DS_Store", "Thumbs.db", "sub/._c.png"):
        (photos / name).write_bytes(b"\0")
    os.utime(photos / "a.png")
    os.utime(photos / "b.png", (2**32, 2**32))
    os.utime(photos)
    assert clone.planned(TARGET, *OPTIONS) == {}
    situation = "folder: touched, `.DS_Store`, dates in the future, a moved clone"
    note(situation, "not looked at", "nothing is redone")


def test_a_change_is_found_and_followed(
    done: Repository, tmp_path: Path, note: Callable[[str, str, str], None]
) -> None:
    after = {"index_dataset": 1, "propose_regions": 1, "draw_own_boxes": 1}
    changed = done.copy(tmp_path / "changed")
    _photo(changed.root / "photos/sub/d.png", 9)
    planned = changed.planned(TARGET, *OPTIONS)
    assert planned["index_dataset"] == 1
    assert set(planned) <= set(after)
    assert "draw_own_boxes" in planned
    shutil.rmtree(changed.root / "photos/sub")
    assert changed.planned(TARGET, *OPTIONS) == planned
    situation = "folder: a photograph added or removed, in a subfolder too"
    note(situation, "results silently old", "found as the run is planned, and followed")


def test_photographs_that_are_as_they_were_are_not_seen_again(
    pristine: Repository, tmp_path: Path, note: Callable[[str, str, str], None]
) -> None:
    copy = pristine.copy(tmp_path)
    log = copy.root / "results/logs/mine/efficientnet_lite0/extract_features.0.log"
    features = "results/mine/efficientnet_lite0/features/0.h5"
    options = ("--cores", "1", "--config", "images=photos", "backbone=efficientnet_lite0")
    for i, name in enumerate(("a.png", "c.png")):
        _photo(copy.root / "photos" / name, i)
    copy.snakemake(features, *options)
    assert "as they were" not in log.read_text()
    _photo(copy.root / "photos/b.png", 9)
    copy.snakemake(features, *options)
    assert "2 of 3 images are as they were" in log.read_text()
    note("folder: a photograph added", "features of all computed anew", "its own alone")
