"""bbr as a library: discover gives what the stages give, and importing bbr brings nothing large."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import run_script
from workflow_copies import default_configuration

import bbr
from bbr import discovery
from bbr.errors import InputError

ROOT = Path(__file__).parents[2]
STAGES = ROOT / "stages"


@pytest.fixture(scope="module")
def index(scenes: Path) -> dict:
    return json.loads(scenes.read_text())


def _first(scenes: Path, index: dict) -> Path:
    return scenes.parent / index["info"]["image_root"] / index["images"][0]["file_name"]


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=STAGES, capture_output=True, text=True, check=False)


def _stage(name: str, *arguments: object) -> None:
    done = run_script(name, [*map(str, arguments)])
    assert done.returncode == 0, done.stderr


def test_import_is_quick() -> None:
    large = "{'torch', 'numpy', 'PIL', 'timm'}"
    done = _python("-c", f"import sys, bbr; print(sorted({large} & sys.modules.keys()))")
    assert done.stdout.strip() == "[]", done.stderr


def test_names() -> None:
    assert set(bbr.__all__) <= set(dir(bbr))
    assert all(getattr(bbr, name) is not None for name in bbr.__all__)
    assert "lost" in bbr.heuristics.registry.METHODS
    with pytest.raises(AttributeError, match="nothing"):
        _ = bbr.nothing


@pytest.mark.parametrize(
    ("method", "boxes", "backbone"),
    [("lost", 1, []), ("tokencut", 3, ["--normalization", "none"]), ("whole_image", 1, [])],
)
def test_boxes_are_those_of_the_stages(
    scenes: Path,
    index: dict,
    tmp_path: Path,
    method: str,
    boxes: int,
    backbone: list[str],
) -> None:
    features, output = tmp_path / "features.h5", tmp_path / "boxes.json"
    weights = ["--weights", "efficientnet_lite0", *backbone]
    # Of one image: in another batch the network may round otherwise.
    shard = ["--shard", f"0/{len(index['images'])}", "--device", "cpu"]
    _stage("extract_features", "--index", scenes, *weights, *shard, "--output", features)
    options = ["--method", method, "--max-boxes", boxes, "--output", output, "--device", "cpu"]
    _stage("pseudo_boxes", "--features", features, *options)
    expected = json.loads(output.read_text())
    found = bbr.discover(
        _first(scenes, index), method, "efficientnet_lite0", max_boxes=boxes, device="cpu"
    )
    xywh = np.array([record["bbox"] for record in expected])
    assert np.allclose(found.boxes[:, :2], xywh[:, :2], atol=1e-3)
    assert np.allclose(found.boxes[:, 2:] - found.boxes[:, :2], xywh[:, 2:], atol=1e-3)
    assert found.scores == pytest.approx([record["score"] for record in expected], abs=1e-6)


def test_files_pillow_images_and_arrays_are_the_same(scenes: Path, index: dict) -> None:
    path = _first(scenes, index)
    with Image.open(path) as image:
        boxes = [bbr.discover(i).boxes.tolist() for i in (path, str(path), image, np.array(image))]
    assert boxes[0] == boxes[1] == boxes[2] == boxes[3]


def test_large_images_are_shrunk_and_boxes_are_in_their_pixels(scenes: Path, index: dict) -> None:
    with Image.open(_first(scenes, index)) as image:
        large = image.resize((4 * image.width, 4 * image.height), Image.Resampling.BOX)
        small = bbr.discover(image, longest_side=None)
        found = bbr.discover(large, longest_side=max(image.size))
    assert found.boxes == pytest.approx(4 * small.boxes, abs=4 * 16)
    assert (found.boxes[:, 2:] <= large.size).all()


@pytest.mark.parametrize(
    ("image", "arguments", "message"),
    [
        (np.zeros((4, 4)), {}, "no image"),
        (np.zeros((4, 4, 3), dtype=np.uint8), {"method": "lust"}, "choose one of"),
        (np.zeros((4, 4, 3), dtype=np.uint8), {"max_boxes": 0}, "at least 1"),
        ("/no/such/file.jpg", {}, "no such file"),
    ],
)
def test_mistakes_are_told(image: object, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bbr.discover(image, **arguments)


def test_what_backbones_need_is_what_the_configuration_says() -> None:
    sections = default_configuration()
    for backbone, scale in discovery._SCALES.items():
        assert sections["backbones"][backbone]["scale"] == scale
    for (backbone, method), normalization in discovery._NORMALIZATIONS.items():
        assert sections["backbones"][backbone]["normalization"] != normalization, (backbone, method)
    for (backbone, method), options in discovery._OPTIONS.items():
        if backbone in sections["backbones"]:
            assert sections["backbones"][backbone]["heuristics"][method] == options


def test_command_line(scenes: Path, index: dict, tmp_path: Path) -> None:
    path, sheet = str(_first(scenes, index)), tmp_path / "sheet.png"
    done = _python("-m", "bbr", path, path, "--max-boxes", "2", "--draw", str(sheet))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in lines] == [path, path], done.stderr
    assert lines[0] == lines[1]
    assert 1 <= len(lines[0]["boxes"]) == len(lines[0]["scores"]) <= 2
    with Image.open(sheet) as drawn:
        assert drawn.format == "PNG"
    done = _python("-m", "bbr", "missing.jpg")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr == "python -m bbr: error: missing.jpg: no such file\n"
    done = _python("-m", "bbr", ".")
    assert "error: .: is a folder, which the workflow takes: snakemake" in done.stderr
