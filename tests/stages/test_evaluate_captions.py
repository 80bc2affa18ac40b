"""match_captions.py, and evaluate.py --task wwbl on what it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import compare_metrics
import evaluate
import match_captions
import numpy as np
import pytest
import tabulate_metrics
import torch
from grounding_data import tiny_clip
from small_runs import command

from bbr.clip.network import prompt, save_small_clip
from bbr.grounding.heatmaps_h5 import create_heatmaps

STAGES = Path(evaluate.__file__).parent
# The ground truth: image, phrase id, box, sentences. Image 2 has no caption, image 1 has three.
PHRASES = [
    (1, 11, [0, 0, 10, 10], ["a red mug", "the red mug"]),
    (1, 12, [10, 10, 10, 10], ["blue disc"]),
    (1, 13, [0, 10, 10, 10], ["red mug"]),
    (2, 14, [0, 0, 20, 10], ["a mug"]),
]
CAPTIONS = ["image of and", "a red mug", "blue disc"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = [{"id": i, "file_name": f"{i}.png", "width": 20, "height": 20} for i in (1, 2)]
    annotations = [
        {"image_id": i, "phrase_id": p, "bbox": box, "phrases": texts}
        for i, p, box, texts in PHRASES
    ]
    (tmp_path / "index.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    described = [images[0] | {"phrases": CAPTIONS}, images[1] | {"phrases": []}]
    (tmp_path / "descriptions.json").write_text(json.dumps({"images": described}))
    save_small_clip(tmp_path / "clip.safetensors", tiny_clip(), {})
    return tmp_path


def match(folder: Path, output: Path) -> int:
    return match_captions.main(
        command(
            index=folder / "index.json",
            descriptions=folder / "descriptions.json",
            clip=folder / "clip.safetensors",
            output=output,
            device="cpu",
            threads=1,
        )
    )


def test_each_phrase_has_the_nearest_caption_of_its_image(folder: Path) -> None:
    assert match(folder, folder / "matches.json") == 0
    matches = json.loads((folder / "matches.json").read_text())["matches"]
    clip = tiny_clip()
    with torch.no_grad():
        captions = clip.encode_texts([prompt(text) for text in CAPTIONS]).numpy()
        for found, (image_id, phrase_id, _, texts) in zip(matches, PHRASES, strict=False):
            sentences = [clip.encode_texts([prompt(text)])[0].numpy() for text in texts]
            cosines = captions @ np.mean(sentences, axis=0)
            assert (found["image_id"], found["phrase_id"]) == (image_id, phrase_id)
            assert found["caption_id"] == int(cosines.argmax()) + 1
            assert found["cosine"] == pytest.approx(float(cosines.max()), abs=1e-4)
    assert len(matches) == 3  # image 2 has none
    assert matches[1]["caption_id"] == 3


def test_descriptions_of_other_images_are_refused(folder: Path, refused: object) -> None:
    images = json.loads((folder / "descriptions.json").read_text())["images"]
    (folder / "descriptions.json").write_text(json.dumps({"images": images[:1]}))
    options = command(
        index=folder / "index.json",
        descriptions=folder / "descriptions.json",
        clip=folder / "clip.safetensors",
    )
    message = refused(match_captions, *options, output=folder / "matches.json")
    assert "describes other images than" in message
    assert "(first: 2)" in message


def write_matches(folder: Path) -> Path:
    """11 and 13 share caption 2, 12 has caption 3, and 14 none."""
    matches = [
        {"image_id": 1, "phrase_id": p, "caption_id": c} for p, c in ((11, 2), (12, 3), (13, 2))
    ]
    (folder / "matches.json").write_text(json.dumps({"matches": matches}))
    return folder / "matches.json"


def scored(folder: Path, *more: object) -> list[str]:
    files = command(task="wwbl", index=folder / "index.json", matches=write_matches(folder))
    return [*files, *map(str, more)]


def score(folder: Path, output: Path, *more: object) -> dict[str, object]:
    assert evaluate.main(scored(folder, *more, "--output", output)) == 0
    return json.loads(output.read_text())


def test_pointing_game(folder: Path) -> None:
    """Caption 2 points to the top left, where 11 is and 13 is not; caption 3 to where 12 is."""
    with create_heatmaps(folder / "maps.h5", size=(4, 4), provenance={}) as file:
        for caption, (y, x) in ((1, (3, 0)), (2, (0, 0)), (3, (3, 3))):
            heatmap = torch.zeros(4, 4)
            heatmap[y, x] = 1
            file.append(1, caption, heatmap)
    metrics = score(folder, folder / "m.json", "--heatmaps", folder / "maps.h5")
    assert metrics["outcomes"] == {
        "image_id": [1, 1, 1, 2],
        "phrase_id": [11, 12, 13, 14],
        "correct": [1, 1, 0, 0],
    }
    assert (metrics["task"], metrics["metric"]) == ("wwbl", "pointing_game")
    assert metrics["score"] == 50
    assert metrics["interval"] == [0.0, pytest.approx(200 / 3)]  # of two images
    assert set(metrics["provenance"]["inputs"]) == {"index", "heatmaps", "matches"}


def boxes(folder: Path, name: str, *records: tuple[int, list[int]]) -> Path:
    content = [{"image_id": 1, "phrase_id": c, "bbox": b, "score": 1} for c, b in records]
    (folder / name).write_text(json.dumps(content))
    return folder / name


def test_bbox_accuracy(folder: Path) -> None:
    """A caption's boxes count together, and those of captions that stand for nothing do not."""
    found = boxes(
        folder,
        "boxes.json",
        (1, [0, 10, 10, 10]),
        (2, [0, 0, 5, 10]),
        (2, [5, 0, 5, 10]),
        (3, [10, 10, 10, 4]),
    )
    metrics = score(folder, folder / "m.json", "--boxes", found)
    assert metrics["outcomes"]["iou"] == [1.0, 0.4, 0.0, 0.0]
    assert metrics["outcomes"]["correct"] == [1, 0, 0, 0]
    assert metrics["metric"] == "bbox_accuracy"


def test_g_and_its_refinement_are_paired_and_tabulated(folder: Path) -> None:
    files = {}
    for method, box in (("WWbL", [10, 10, 10, 4]), ("Ours", [10, 10, 10, 10])):
        found = boxes(folder, f"{method}.boxes.json", (3, box))
        labels = ["--label", f"method={method}", "train=COCO", "test=VG"]
        files[method] = folder / f"{method}.json"
        score(folder, files[method], "--boxes", found, *labels)
    comparison = folder / "comparison.json"
    assert (
        compare_metrics.main(
            command(baseline=files["WWbL"], candidate=files["Ours"], output=comparison)
        )
        == 0
    )
    assert json.loads(comparison.read_text())["fixed"] == 1
    published = STAGES.parent / "workflow/published/table3.csv"
    options = [
        "--table",
        "3",
        "--metrics",
        *files.values(),
        "--published",
        published,
        "--output",
        folder / "table3.csv",
    ]
    assert tabulate_metrics.main(list(map(str, options))) == 0
    lines = (folder / "table3.csv").read_text().splitlines()
    assert lines[0] == ('"training set, model",bbox_accuracy VG,bbox_accuracy VG published,source')
    assert '"COCO, MG",,11.48,published' in lines
    assert '"COCO, WWbL",0.00,17.76,measured' in lines
    assert '"COCO, Ours",25.00,22.32,measured' in lines


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("wwbl", ["--boxes", "b"], "--task wwbl needs --matches FILE"),
        ("bbox_accuracy", ["--boxes", "b", "--matches", "m"], "and no other task takes it"),
        ("wwbl", ["--control", "center"], "needs --heatmaps or --boxes, and has --control"),
        ("wwbl", ["--boxes", "b", "--heatmaps", "h"], "has --boxes and --heatmaps"),
    ],
)
def test_sources(
    folder: Path, refused: object, task: str, options: list[str], message: str
) -> None:
    arguments = ["--task", task, "--index", folder / "index.json", *options]
    assert message in refused(evaluate, *arguments, output=folder / "m.json")


def test_boxes_of_other_images_are_refused(folder: Path, refused: object) -> None:
    (folder / "b.json").write_text(
        json.dumps([{"image_id": 9, "phrase_id": 1, "bbox": [0, 0, 1, 1], "score": 1}])
    )
    options = scored(folder, "--boxes", folder / "b.json")
    message = refused(evaluate, *options, output=folder / "m.json")
    assert "image ids that the index does not have (first: 9)" in message


def test_listing_imports_no_torch() -> None:
    program = (
        "import sys, evaluate, export_results, draw_descriptions;"
        "import bbr.captioning.described_shards;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=STAGES, check=True)


def test_images_without_a_caption_may_be_left_out(folder: Path) -> None:
    """Image 2 has none: its phrase is a miss, or as in WWbL's code not counted; both are told."""
    assert match(folder, folder / "matches.json") == 0
    with create_heatmaps(folder / "maps.h5", size=(4, 4), provenance={}) as writer:
        for caption in (1, 2, 3):
            writer.append(1, caption, torch.ones(4, 4))
    found = []
    for more in ([], ["--undescribed", "left_out"]):
        options = command(
            task="wwbl",
            index=folder / "index.json",
            heatmaps=folder / "maps.h5",
            matches=folder / "matches.json",
            output=folder / "metrics.json",
        )
        assert evaluate.main([*options, *more]) == 0
        found.append(json.loads((folder / "metrics.json").read_text()))
    assert [metrics["count"] for metrics in found] == [4, 3]
    assert "undescribed" not in found[0]
    assert found[1]["undescribed"] == 1


def test_bare_captions_beside_phrases_with_the_prefix(folder: Path) -> None:
    options = command(
        index=folder / "index.json",
        descriptions=folder / "descriptions.json",
        clip=folder / "clip.safetensors",
        output=folder / "bare.json",
        device="cpu",
        threads=1,
    )
    assert match_captions.main([*options, "--bare-captions"]) == 0
    clip = tiny_clip()
    for found in json.loads((folder / "bare.json").read_text())["matches"]:
        (texts,) = (texts for _, unit, _, texts in PHRASES if unit == found["phrase_id"])
        with torch.no_grad():
            asked = clip.encode_texts([prompt(text) for text in texts]).mean(0)
            cosines = (clip.encode_texts(CAPTIONS) @ asked).tolist()
        assert found["cosine"] == pytest.approx(max(cosines), abs=1e-4)
        assert found["caption_id"] == 1 + int(np.argmax(cosines))
