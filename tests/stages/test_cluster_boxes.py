"""cluster_boxes.py: boxes of the same kind come together, each kind with its sheet."""

from __future__ import annotations

import json
from pathlib import Path

import cluster_boxes
import numpy as np
import pytest
import torch
from PIL import Image

from bbr.backbones.features_h5 import create_features
from bbr.storage.boxes_json import read_boxes, read_meta, write_boxes
from bbr.storage.rle import encode_mask

# Photographs of 64 × 48 pixels, which the network saw at half that, in 4 × 3 patches; of each, the
# kinds of its left and its right half, and the halves that have a box.
PHOTOS = {1: ("cat", "dog"), 2: ("dog", "cat"), 3: ("cat", "bus"), 4: ("cat", "dog")}
LEFT, RIGHT = [2, 4, 28, 40], [34, 4, 28, 40]
BOXES = [(3, RIGHT), (1, LEFT), (1, RIGHT), (2, LEFT), (2, RIGHT), (3, LEFT), (4, LEFT)]
FEATURES = {"cat": [5.0, 0.0, 1.0], "dog": [0.0, 3.0, 1.0], "bus": [-2.0, -2.0, 0.0]}


def write_features(path: Path, image_ids: list[int]) -> None:
    options = {"backbone": "cnn", "patch_size": 8, "dim": 3, "heads": 0, "dtype": "float16"}
    with create_features(path, **options, provenance={}, full_sizes=True) as writer:
        for i in image_ids:
            left, right = (torch.tensor(FEATURES[kind]) for kind in PHOTOS[i])
            rows = torch.stack([left, left, right, right]).repeat(3, 1)
            key = rows + i * torch.linspace(-0.02, 0.02, 36).view(12, 3)
            writer.append(i, (24, 32), (3, 4), key, None, full_size=(48, 64))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    images = []
    for i in PHOTOS:
        Image.new("RGB", (64, 48), (60 * i, 90, 40)).save(tmp_path / f"photos/{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 48})
    index = {"images": images, "info": {"image_root": "photos"}}
    (tmp_path / "index.json").write_text(json.dumps(index))
    mask = np.zeros((48, 64), dtype=bool)
    mask[4:44, 2:30] = True
    records = [{"image_id": i, "bbox": bbox, "score": 0.5} for i, bbox in BOXES]
    records[1]["segmentation"] = encode_mask(mask)
    without = [{"image_id": 9, "file_name": "9.png"}]
    write_boxes(tmp_path / "boxes.json", records, {"stage": "x"}, [], without)
    write_features(tmp_path / "a.h5", [3, 1])
    write_features(tmp_path / "b.h5", [2, 4])
    return tmp_path


def run(folder: Path, *options: object, clusters: int = 3, boxes: str = "boxes.json") -> int:
    arguments = ["--index", folder / "index.json", "--boxes", folder / boxes]
    arguments += ["--features", folder / "a.h5", folder / "b.h5", "--clusters", clusters]
    arguments += ["--sheets", folder / "sheets", "--output", folder / "clusters.json", *options]
    return cluster_boxes.main([str(argument) for argument in arguments])


def test_kinds_by_their_number_of_boxes(made: Path) -> None:
    assert run(made) == 0
    before, after = read_boxes(made / "boxes.json"), read_boxes(made / "clusters.json")
    # Cats, dogs, buses.
    assert [box["category_id"] for box in after] == [3, 1, 2, 2, 1, 1, 1]
    assert [{**box, "category_id": 1} for box in after] == before
    assert "segmentation" in after[1]
    meta = read_meta(made / "clusters.json")
    assert meta["provenance"]["parameters"] == {"clusters": 3, "seed": 0}
    assert meta["provenance"]["sources"] == [{"stage": "x"}]
    assert meta["without_boxes"] == [{"image_id": 9, "file_name": "9.png"}]


def test_a_sheet_of_each(made: Path) -> None:
    assert run(made) == 0
    assert sorted(path.name for path in (made / "sheets").iterdir()) == ["1.png", "2.png", "3.png"]
    one, several = (Image.open(made / f"sheets/{number}.png").size for number in (3, 1))
    assert several[0] > one[0]
    assert run(made, "--count", 1) == 0
    assert Image.open(made / "sheets/1.png").size == one


def test_the_same_bytes_again(made: Path) -> None:
    assert run(made) == 0
    files = [made / "clusters.json", made / "clusters.meta.json", *made.glob("sheets/*")]
    before = {path: path.read_bytes() for path in files}
    assert run(made) == 0
    assert {path: path.read_bytes() for path in files} == before


def test_a_photograph_that_is_gone_is_left_out_of_the_sheets(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (made / "photos/3.png").unlink()
    assert run(made) == 0
    assert "left out: " in capsys.readouterr().err
    assert len(read_boxes(made / "clusters.json")) == len(BOXES)
    assert sorted(path.name for path in (made / "sheets").iterdir()) == ["1.png", "2.png"]


def test_mistakes_are_told(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*options: object, **more: object) -> str:
        assert run(made, *options, **more) == 1
        return capsys.readouterr().err.splitlines()[-1]

    assert "boxes.json: 7 different boxes do not make 8 clusters" in refused(clusters=8)
    assert "--clusters 1 is not at least 2" in refused(clusters=1)
    line = refused("--features", made / "b.h5")
    assert "boxes.json: boxes of 2 images that the features do not have (first: 1)" in line
    write_boxes(made / "none.json", [], {})
    assert "0 different boxes do not make 3 clusters" in refused(boxes="none.json")
    assert not (made / "clusters.json").exists()
