"""propose_regions.py on the command line."""

import json
import re

import numpy as np
import propose_regions
import pytest
from PIL import Image

from bbr.storage.boxes_json import meta_path, read_boxes, read_meta

METHODS = ("selective_search", "edge_boxes")


def propose(index, output, *more, method="edge_boxes"):
    options = ["--method", method, "--index", index, "--output", output, *more]
    assert propose_regions.main([str(option) for option in options]) == 0
    return read_boxes(output)


@pytest.fixture
def odd_images(tmp_path):
    """1 × 1 pixels, a constant image, and a file that is no image."""
    Image.new("RGB", (1, 1)).save(tmp_path / "1.png")
    Image.new("L", (50, 40), 9).save(tmp_path / "2.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    images = [{"id": i, "file_name": f"{i}.png"} for i in (3, 1, 2)]
    (tmp_path / "index.json").write_text(json.dumps({"images": images}))
    return tmp_path / "index.json"


@pytest.mark.parametrize("method", METHODS)
def test_one_box_inside_each_image(scenes, tmp_path, method):
    boxes = propose(scenes, tmp_path / "b.json", method=method)
    assert [box["image_id"] for box in boxes] == list(range(1, 21))
    xywh = np.array([box["bbox"] for box in boxes])
    assert (xywh[:, :2] >= 0).all()
    assert (xywh[:, 2:] > 0).all()
    assert (xywh[:, :2] + xywh[:, 2:] <= 64).all()


@pytest.mark.parametrize("method", METHODS)
def test_shards_make_the_whole(scenes, tmp_path, method):
    parts = [
        propose(scenes, tmp_path / f"{i}.json", "--shard", f"{i}/3", method=method)
        for i in range(3)
    ]
    assert [box for part in parts for box in part] == propose(
        scenes, tmp_path / "b.json", method=method
    )


def test_same_bytes_in_other_processes(scenes, tmp_path, run_stage):
    contents = set()
    for name, threads in (("a", 1), ("b", 2)):
        output = tmp_path / name / "boxes.json"
        options = ["--method", "selective_search", "--index", scenes, "--threads", threads]
        done = run_stage("propose_regions", *options, "--output", output)
        assert done.returncode == 0, done.stderr
        contents.add((output.read_bytes(), meta_path(output).read_bytes()))
    assert len(contents) == 1


def test_seed_matters_to_selective_search(scenes, tmp_path):
    options = {"method": "selective_search"}
    first = propose(scenes, tmp_path / "0.json", **options)
    assert first != propose(scenes, tmp_path / "1.json", "--seed", 1, **options)
    assert read_meta(tmp_path / "1.json")["provenance"]["parameters"]["seed"] == 1


@pytest.mark.parametrize("method", METHODS)
def test_odd_images(odd_images, tmp_path, method):
    boxes = propose(odd_images, tmp_path / "b.json", "--max-skipped", 1, method=method)
    assert [box["bbox"] for box in boxes] == [[0, 0, 1, 1], [0, 0, 50, 40]]
    assert read_meta(tmp_path / "b.json")["skipped"][0]["image_id"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "edges"), "method 'edges' is unknown; choose one of selective_search,"),
        (("--method", "edge_boxes", "--model", "none.gz"), r"--model none\.gz: no such file"),
        (("--method", "edge_boxes"), r"1 images cannot be read .*3\.png.*--max-skipped"),
    ],
)
def test_refused(refused, odd_images, tmp_path, options, message):
    output = tmp_path / "out" / "boxes.json"
    assert re.search(
        message, refused(propose_regions, *options, "--index", odd_images, output=output)
    )
