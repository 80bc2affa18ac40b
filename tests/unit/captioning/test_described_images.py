"""Images with what was found in them, by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbr.captioning.described_images import DescribedImages, describe_images
from bbr.captioning.describing import Description
from bbr.data.index import Index, load_index
from bbr.errors import InputError

REGIONS = np.array([[1.0, 2.0, 5.0, 8.0], [0.0, 0.0, 2.125, 4.0]])


def describe(images: list[np.ndarray]) -> list[list[Description]]:
    """The same two regions of each."""
    return [[Description("a mug", REGIONS)] for _ in images]


def dataset(folder: Path, *names: str) -> Index:
    images = [
        {"id": i, "file_name": name, "width": 12, "height": 9} for i, name in enumerate(names, 1)
    ]
    return Index(images, [], [], {}, folder / "index.json")


def test_an_image_and_one_that_is_not_there(tmp_path: Path) -> None:
    Image.new("RGB", (12, 9)).save(tmp_path / "a.png")
    index = dataset(tmp_path, "a.png", "b.png")
    describer: Any = SimpleNamespace(describe=describe)
    found = describe_images(index.images, index, describer)
    assert found.images == [
        {
            "id": 1,
            "file_name": "a.png",
            "width": 12,
            "height": 9,
            "phrases": ["a mug"],
            "regions": [[[1, 2, 4, 6], [0, 0, 2.12, 4]]],
        }
    ]
    assert [entry["image_id"] for entry in found.skipped] == [2]
    found.save(tmp_path / "below" / "out.json", index, {"stage": "x"})
    saved = load_index(tmp_path / "below" / "out.json")
    assert saved.images == found.images
    assert (saved.info["image_root"], saved.info["skipped"]) == ("..", found.skipped)


def test_too_many_that_cannot_be_read() -> None:
    lost = DescribedImages([], [{"image_id": 4, "reason": "torn"}])
    done = DescribedImages([], [])
    done.add(lost, 1, Path("index.json"))
    with pytest.raises(InputError, match=r"index\.json: 2 images cannot be read \(last: 4, torn\)"):
        done.add(lost, 1, Path("index.json"))
