"""The render_scenes stage, from its command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
import render_scenes
from pycocotools.coco import COCO

from bbr.scenes.categories import CATEGORY_IDS
from bbr.scenes.presets import PRESETS


def render(output, *more, preset="scenes07", count=5, size=48):
    return render_scenes.main(
        [
            "--preset",
            preset,
            "--count",
            str(count),
            "--size",
            str(size),
            "--output",
            str(output),
            *more,
        ]
    )


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_index_is_coco_and_points_at_its_images(tmp_path):
    output = tmp_path / "new" / "index.json"
    assert render(output, count=6) == 0
    coco = COCO(str(output))
    assert [image["id"] for image in coco.dataset["images"]] == [1, 2, 3, 4, 5, 6]
    assert {c["name"]: c["id"] for c in coco.dataset["categories"]} == CATEGORY_IDS
    for image in coco.dataset["images"]:
        path = output.parent / coco.dataset["info"]["image_root"] / image["file_name"]
        assert cv2.imread(str(path)).shape == (48, 48, 3) == (image["height"], image["width"], 3)
        annotations = coco.imgToAnns[image["id"]]
        assert annotations
        for annotation in annotations:
            x, y, width, height = annotation["bbox"]
            assert 0 <= x < x + width <= 48
            assert 0 <= y < y + height <= 48
            assert 0 < annotation["area"] <= width * height
            assert annotation["phrases"]
    ids = [annotation["id"] for annotation in coco.dataset["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    made = coco.dataset["info"]["provenance"]
    assert made["stage"] == "render_scenes"
    assert made["parameters"]["style"]["name"] == "scenes07"


def test_objects_of_one_mention_share_its_phrase_id(tmp_path):
    output = tmp_path / "index.json"
    assert render(output, preset="entities_test", count=12) == 0
    annotations = json.loads(output.read_text())["annotations"]
    ids = [annotation["phrase_id"] for annotation in annotations]
    assert sorted(set(ids)) == list(range(1, max(ids) + 1))
    assert len(set(ids)) < len(ids) == len({annotation["id"] for annotation in annotations})
    words = {annotation["phrase_id"]: annotation["phrases"] for annotation in annotations}
    assert all(a["phrases"] == words[a["phrase_id"]] for a in annotations)


def test_captions_are_of_images_and_boxes_stay(tmp_path):
    output = tmp_path / "index.json"
    assert render(output, preset="captions", count=3) == 0
    content = json.loads(output.read_text())
    assert [len(image["captions"]) for image in content["images"]] == [5, 5, 5]
    assert content["annotations"]
    assert not any("phrases" in annotation for annotation in content["annotations"])


def test_same_arguments_same_bytes_wherever_and_however_often(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    assert render(first / "index.json") == 0
    assert render(second / "index.json") == 0
    once = contents(first)
    assert once == contents(second)
    assert render(first / "index.json") == 0
    assert contents(first) == once


def test_scene_does_not_depend_on_how_many_follow(tmp_path):
    assert render(tmp_path / "few" / "index.json", count=3) == 0
    assert render(tmp_path / "many" / "index.json", count=6) == 0
    few, many = contents(tmp_path / "few" / "images"), contents(tmp_path / "many" / "images")
    assert few == {name: many[name] for name in few}
    annotations = [
        json.loads((tmp_path / name / "index.json").read_text())["annotations"]
        for name in ("few", "many")
    ]
    assert annotations[0] == annotations[1][: len(annotations[0])]


def test_a_smaller_dataset_replaces_a_larger_one(tmp_path):
    assert render(tmp_path / "index.json", count=6) == 0
    assert render(tmp_path / "index.json", count=2) == 0
    assert len(list((tmp_path / "images").glob("*.jpg"))) == 2


def test_seeds_and_presets_differ(tmp_path):
    images = set()
    for number, (preset, seed) in enumerate([("scenes07", "0"), ("scenes07", "1"), ("tune", "0")]):
        assert render(tmp_path / str(number) / "index.json", "--seed", seed, preset=preset) == 0
        images.add((tmp_path / str(number) / "images" / "000001.jpg").read_bytes())
    assert len(images) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "scenes99"}, ", ".join(PRESETS)),
        ({"count": 0}, "--count 0"),
        ({"size": 31}, "is not in [32, 1024]"),
        ({"size": 1025}, "is not in [32, 1024]"),
    ],
)
def test_bad_option_is_one_line_and_leaves_nothing(tmp_path, capsys, options, message):
    assert render(tmp_path / "out" / "index.json", **options) == 1
    assert_one_line(capsys, message)
    assert not (tmp_path / "out").exists()


def test_negative_seed(tmp_path, capsys):
    assert render(tmp_path / "index.json", "--seed", "-1") == 1
    assert_one_line(capsys, "--seed -1")


def test_output_below_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert render(tmp_path / "file" / "index.json") == 1
    assert_one_line(capsys, "cannot make its folder")


def test_output_is_a_folder(tmp_path, capsys):
    assert render(tmp_path) == 1
    assert_one_line(capsys, "is a folder")


def test_other_people_s_images_are_left_alone(tmp_path, capsys):
    photograph = tmp_path / "images" / "000001.jpg"
    photograph.parent.mkdir()
    photograph.write_bytes(b"mine")
    assert render(tmp_path / "index.json") == 1
    assert_one_line(capsys, "not rendered here")
    assert contents(tmp_path) == {"images/000001.jpg": b"mine"}


def assert_one_line(capsys, message):
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_rerun_after_a_kill_is_complete(tmp_path):
    killed, whole = tmp_path / "killed" / "index.json", tmp_path / "whole" / "index.json"
    script = Path(render_scenes.__file__)
    command = [
        sys.executable,
        script,
        "--preset",
        "scenes07",
        "--count",
        "300",
        "--size",
        "48",
        "--output",
        killed,
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ})
    partial = killed.parent / ".images.partial"
    deadline = time.monotonic() + 60
    while len(list(partial.glob("*.jpg"))) < 10 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not killed.exists()
    assert render(killed, count=300) == 0
    assert render(whole, count=300) == 0
    assert contents(killed.parent) == contents(whole.parent)


@pytest.mark.parametrize("left", ["partial", "stale"])
def test_folders_that_a_kill_left_are_swept(tmp_path, left):
    folder = tmp_path / f".images.{left}"
    folder.mkdir()
    (folder / "000099.jpg").write_bytes(b"half")
    assert render(tmp_path / "index.json") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "index.json"]
