"""draw_maps.py on the command line."""

import json
import re

import draw_maps
import numpy as np
import pytest
import torch
from PIL import Image

from bbr.backbones.features_h5 import create_features
from bbr.grounding.heatmaps_h5 import create_heatmaps

COUNT = 5


def make_features(path, ids, patch=8):
    """Features of images of 40 × 32 pixels: 5 × 4 patches, one of which is unlike the rest."""
    made = {"backbone": "b", "patch_size": patch, "dim": 2, "heads": 0, "dtype": "float16"}
    with create_features(path, **made, provenance={}) as writer:
        for i in ids:
            key = torch.ones(20, 2)
            key[i] = -1
            writer.append(i, (40, 32), (5, 4), key, None)


@pytest.fixture
def dataset(tmp_path):
    """Five images, one of which cannot be decoded; features in two shards; boxes."""
    rng = np.random.default_rng(0)
    images = []
    for i in range(1, COUNT + 1):
        noise = rng.integers(0, 255, (40, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 32, "height": 40})
    (tmp_path / "5.png").write_bytes(b"not an image")
    truths = [{"image_id": 1, "bbox": [4, 4, 20, 22], "category_id": 1, "iscrowd": 0}]
    index = {"info": {"image_root": "."}, "images": images, "annotations": truths}
    (tmp_path / "index.json").write_text(json.dumps(index))
    make_features(tmp_path / "0.h5", [1, 2, 3])
    make_features(tmp_path / "1.h5", [4, 5])
    for name, left in (("boxes.json", 2), ("cad.json", 6)):
        records = [
            {"image_id": i, "category_id": 1, "bbox": [left, 3, 20, 30], "score": 1.0}
            for i in range(1, COUNT + 1)
        ]
        (tmp_path / name).write_text(json.dumps(records))
    return tmp_path


def panel(folder, **changes):
    words = {
        "title": "LOST",
        "network": "f",
        "method": "lost",
        "features": folder / "{shard}.h5",
        "shards": 2,
        "boxes": folder / "boxes.json",
        **changes,
    }
    return ["--panel", *(f"{k}={v}" for k, v in words.items() if v is not None)]


def draw(folder, *more, output="figure.png", **changes):
    panels = [*panel(folder, **changes), *panel(folder, network="f^h", **changes)]
    options = ["--index", str(folder / "index.json"), "--output", str(folder / output)]
    return draw_maps.main([*panels, *options, *more])


def test_png_and_pdf(dataset):
    assert draw(dataset, "--count", "2", "--width", "2.5", k_patches=3) == 0
    with Image.open(dataset / "figure.png") as figure:
        assert figure.width == 750
    assert (dataset / "figure.pdf").read_bytes().startswith(b"%PDF")


def test_options_have_the_types_that_they_are_said_to_have(dataset):
    """k_patches may be a share of the patches, though its default is a whole number."""
    assert draw(dataset, "--count", "2", k_patches=0.2) == 0


def test_same_bytes_each_time_and_another_seed_other_images(dataset):
    for name, seed in (("a.png", "3"), ("b.png", "3"), ("c.png", "0")):
        assert draw(dataset, "--seed", seed, "--count", "2", output=name) == 0
    for kind in ("png", "pdf"):
        first, again, other = ((dataset / f"{name}.{kind}").read_bytes() for name in "abc")
        assert first == again != other


def test_cad_s_boxes_are_drawn_too(dataset):
    assert draw(dataset, output="without.png") == 0
    assert draw(dataset, output="with.png", cad=dataset / "cad.json") == 0
    without, with_cad = (Image.open(dataset / f"{n}.png") for n in ("without", "with"))
    assert with_cad.size == without.size
    assert with_cad.tobytes() != without.tobytes()


def test_images_that_cannot_be_shown_are_left_out_and_named(dataset, capsys):
    make_features(dataset / "0.h5", [1, 2])
    assert draw(dataset, "--image-ids", "3", "5", "4") == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"left out: 3\.png: some features lack it", lines[0])
    assert re.fullmatch(r"left out: .*5\.png: .*", lines[1])


@pytest.mark.parametrize(
    ("more", "changes", "message"),
    [
        ((), {"boxes": None}, "boxes is missing"),
        ((), {"method": "loost"}, "'loost' is unknown"),
        ((), {"method": "center", "fraction": "x"}, "fraction is x, not of type float"),
        ((), {"method": "center"}, "center has no map"),
        ((), {"colour": "red"}, "has no option 'colour'"),
        ((), {"shards": "x"}, "shards is x"),
        ((), {"shards": 3}, "2.h5: no such file"),
        ((), {"cad": "none.json"}, "none.json: cannot be read"),
        (("--image-ids", "77"), {}, "no image of id 77"),
        (("--image-ids", "5"), {}, "none of the 1 images"),
        (("--count", "41"), {}, r"--count 41 is not in \[1, 40\]"),
        (("--width", "0.1"), {}, r"--width 0.1 is not in \[1, 20\]"),
    ],
)
def test_bad_input_is_one_line(dataset, capsys, more, changes, message):
    assert draw(dataset, *more, **changes) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "left out" not in line]
    assert len(errors) == 1
    assert re.fullmatch(rf".* error: .*{message}.*", errors[0])
    assert not (dataset / "figure.png").exists()


def test_output_must_be_png(dataset, capsys):
    assert draw(dataset, output="figure.pdf") == 1
    assert re.fullmatch(r".* error: .*\.png.*\n", capsys.readouterr().err)


def test_a_phrase_below(dataset, capsys):
    annotations = [
        {
            "image_id": 2,
            "bbox": [4, 4, 20, 22],
            "category_id": 1,
            "iscrowd": 0,
            "phrase_id": 1,
            "phrases": ["a cat"],
        },
    ]
    index = json.loads((dataset / "index.json").read_text())
    (dataset / "phrases.json").write_text(json.dumps({**index, "annotations": annotations}))
    with create_heatmaps(dataset / "maps.h5", size=(4, 4), provenance={}) as writer:
        writer.append(2, 1, torch.eye(4))
    found = [{"image_id": 2, "phrase_id": 1, "bbox": [2, 3, 20, 30], "score": 1.0}]
    (dataset / "found.json").write_text(json.dumps(found))
    maps, boxes = [str(dataset / "maps.h5")] * 2, [str(dataset / "found.json")] * 2
    phrase = ["--phrase-index", str(dataset / "phrases.json")]
    assert draw(dataset, "--count", "1", output="without.png") == 0
    more = [*phrase, "--phrase-heatmaps", *maps, "--phrase-boxes", *boxes]
    assert draw(dataset, "--count", "1", *more, output="with.png") == 0
    without, both = (Image.open(dataset / f"{n}.png") for n in ("without", "with"))
    assert both.height > 1.7 * without.height
    capsys.readouterr()
    assert draw(dataset, *phrase) == 1
    assert "give all or none" in capsys.readouterr().err
