"""How long a folder will take, in one line."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from small_configuration import small_configuration
from support import estimate


@pytest.fixture
def config(tmp_path: Path) -> dict:
    """The configuration for a folder of two photographs and a file that is none."""
    for name, size in (("a.jpg", (2048, 1024)), ("b.jpg", (500, 400))):
        Image.new("RGB", size).save(tmp_path / name)
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    made = small_configuration() | {"backbone": "dinov2_vits14", "threads": 1}
    made["datasets"]["mine"] = {"format": "folder", "source": str(tmp_path), "shards": 1}
    return made


def test_by_hand(config: dict) -> None:
    """a.jpg has 2.097 megapixels, as f sees it 0.524; b.jpg has 0.2."""
    a, b = 0.1 + 0.04 * 2.097152 + 1.3 * 0.524288, 0.1 + 0.04 * 0.2 + 1.3 * 0.2
    assert estimate._work(1024, 2048, 1.3) == pytest.approx(a)
    assert estimate._work(400, 500, 1.3) == pytest.approx(b)
    names = ["a.jpg", "b.jpg", "bad.jpg"]
    assert (
        estimate.line(config, names, 1) == "3 photographs: about a minute for their boxes on 1 core"
    )
    minutes = round((20 + 600 * (a + b) / 2) / 60)
    told = f"600 photographs: about {minutes} minutes for their boxes on 1 core"
    assert estimate.line(config, ["a.jpg", "b.jpg"] * 300, 1) == told


def test_cores_are_used_up_to_the_threads_of_a_job(
    config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})  # of which the run has four
    names = ["b.jpg"] * 6000
    (one, *_), (four, *_) = (
        [
            int(word)
            for word in estimate.line(config | {"threads": threads}, names, 4).split()
            if word.isdigit()
        ][1:]
        for threads in (1, 4)
    )
    assert one == pytest.approx(4 * four, abs=3)
    assert estimate.line(config, names, 4).endswith("on 1 core; threads=3 would use 3")
    assert estimate.line(config | {"threads": 8}, names, 4).endswith("on 4 cores")
    refined = estimate.line(config | {"refine": True}, names, 1)
    assert refined.endswith("; refinement comes after that")


def test_what_is_not_known_is_not_said(config: dict) -> None:
    assert estimate.line(config, ["a.jpg"], None) == "1 photograph"
    assert estimate.line(config | {"backbone": "vit"}, ["a.jpg"], 2) == "1 photograph"
    assert estimate.line(config, ["bad.jpg"], 2) == "1 photograph"


def test_photographs_of_a_record() -> None:
    record = {"files": {"image/a/b.jpg": "crc 1", "phrases": "crc 2", "image/c.png": "missing"}}
    assert estimate.names_in(record) == ["a/b.jpg", "c.png"]
    assert estimate.names_in({}) == []


@pytest.mark.parametrize(
    ("rule", "dataset", "backbone", "expected"),
    [
        ("extract_own_features", "mine", "f", True),
        ("extract_own_features", "mine", "f+mine", False),
        ("extract_features", "a", "f", False),
        ("pseudo_boxes", "mine", "f", False),
    ],
)
def test_only_where_features_are_to_be_made(
    rule: str, dataset: str, backbone: str, expected: bool
) -> None:
    job = SimpleNamespace(
        rule=SimpleNamespace(name=rule),
        wildcards=SimpleNamespace(dataset=dataset, backbone=backbone),
    )
    assert estimate.will_extract([job], "f") is expected
