"""draw_groundings.py on the command line, and export_results.py with heatmaps."""

import io
import json
from pathlib import Path

import draw_groundings
import export_results
import pytest
import render_scenes
import torch
from PIL import Image

from bbr.data.index import load_index
from bbr.data.phrases import index_phrases
from bbr.grounding.heatmaps_h5 import create_heatmaps, find_peak


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Rendered entities, maps that peak at the left, and boxes of all phrases but one."""
    folder = tmp_path_factory.mktemp("groundings")
    index = folder / "index.json"
    options = ["--preset", "entities_test", "--count", "3", "--size", "48", "--output", str(index)]
    assert render_scenes.main(options) == 0
    phrases = index_phrases(load_index(index))
    heatmap = torch.zeros(6, 6)
    heatmap[2, 0] = 1
    with create_heatmaps(folder / "h.h5", size=(6, 6), provenance={}) as writer:
        for phrase in phrases:
            peak = find_peak(heatmap, (48, 48))
            writer.append(phrase.image_id, phrase.phrase_id, heatmap, peak)
    records = [
        {"image_id": p.image_id, "phrase_id": p.phrase_id, "bbox": [0, 0, 24, 24], "score": 0.5}
        for p in phrases[1:]
    ]
    (folder / "boxes.json").write_text(json.dumps(records))
    return {"index": index, "heatmaps": folder / "h.h5", "boxes": folder / "boxes.json"}


def draw(files, output, *more):
    options = [
        "--index",
        files["index"],
        "--boxes",
        files["boxes"],
        files["boxes"],
        "--names",
        "g",
        "g^h",
        "--output",
        output,
        *more,
    ]
    return draw_groundings.main(list(map(str, options)))


def test_a_figure(files, tmp_path):
    heatmaps = ["--heatmaps", files["heatmaps"], files["heatmaps"]]
    for name, more in (("a", []), ("b", heatmaps), ("c", heatmaps)):
        options = ["--count", "3", "--seed", "0", *more]
        assert draw(files, tmp_path / f"{name}.png", *options) == 0
    pictures = [(tmp_path / f"{name}.png").read_bytes() for name in "abc"]
    assert pictures[0] != pictures[1] == pictures[2]
    width, height = Image.open(io.BytesIO(pictures[0])).size
    assert width > 1000
    assert height > 300


def test_a_list(files, tmp_path):
    output = tmp_path / "grounding.json"
    options = [text for key, path in files.items() for text in (f"--{key}", str(path))]
    assert export_results.main([*options, "--output", str(output)]) == 0
    found = json.loads(output.read_text())
    phrases = index_phrases(load_index(files["index"]))
    assert [entry["phrase"] for entry in found] == [phrase.texts[0] for phrase in phrases]
    assert found[0]["boxes"] == []
    assert found[1]["boxes"] == [{"bbox": [0, 0, 24, 24], "score": 0.5}]
    # the hot pixel covers columns 0 to 8 and rows 16 to 24; it is flat at the left border
    assert found[0]["point"][0] == 0.5
    assert 16 <= found[0]["point"][1] < 24
    assert found[0]["file_name"] == "000001.jpg"


def test_mistakes(files, tmp_path, refused):
    options = ["--index", files["index"], "--boxes", files["boxes"], "--names", "g"]
    message = refused(draw_groundings, *options, "x", output=tmp_path / "a.png")
    assert "name as many of each" in message
    assert "ends in .png" in refused(draw_groundings, *options, output=tmp_path / "a.jpg")
    message = refused(draw_groundings, *options, "--count", 101, output=tmp_path / "a.png")
    assert "--count 101 is not in [1, 100]" in message
    other = tmp_path / "boxes.json"
    other.write_text(json.dumps([{"image_id": 9, "bbox": [0, 0, 1, 1], "score": 1}]))
    options[3] = other
    assert "no phrase_id" in refused(draw_groundings, *options, output=tmp_path / "a.png")


def test_heatmaps_of_other_phrases(files, tmp_path, refused):
    with create_heatmaps(tmp_path / "h.h5", size=(6, 6), provenance={}):
        pass
    options = ["--index", files["index"], "--boxes", files["boxes"], "--names", "g"]
    more = ["--heatmaps", tmp_path / "h.h5"]
    assert "no map of phrase" in refused(
        draw_groundings, *options, *more, output=tmp_path / "a.png"
    )
    options = ["--index", files["index"], "--boxes", files["boxes"]]
    assert "have no map" in refused(export_results, *options, *more, output=tmp_path / "a.json")
