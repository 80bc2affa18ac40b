"""detect_phrases.py on its command line: tiny random networks of transformers' own classes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import detect_phrases
import evaluate
import merge_shards
import numpy as np
import pytest
import render_scenes
import torch
from safetensors.torch import load_file, save_file
from small_runs import command
from upper_bound_data import WRITERS, literal_best

from bbr.data.images import read_indexed
from bbr.data.index import load_index
from bbr.data.phrases import Phrase, index_phrases
from bbr.storage.boxes_json import box_xyxy, read_boxes

NETWORKS = tuple(WRITERS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes, the networks, and the boxes of each; tests must not change it."""
    folder = tmp_path_factory.mktemp("upper_bounds")
    scenes = command(preset="entities_test", count=3, size=64, seed=3, output=folder / "index.json")
    assert render_scenes.main(scenes) == 0
    for name, write in WRITERS.items():
        write(folder / name)
        assert detect(folder, name, folder / f"{name}.json") == 0
    return folder


def arguments(folder: Path, network: str, *more: object) -> list[str]:
    options = command(index=folder / "index.json", network=network, device="cpu", threads=1)
    return [*options, "--weights", str(folder / network), *map(str, more)]


def detect(folder: Path, network: str, output: Path, *more: object) -> int:
    return detect_phrases.main([*arguments(folder, network, *more), "--output", str(output)])


@pytest.mark.parametrize("network", NETWORKS)
def test_each_phrase_has_one_box_inside_its_image(made: Path, network: str) -> None:
    index, records = load_index(made / "index.json"), read_boxes(made / f"{network}.json")
    phrases = index_phrases(index)
    assert [(r["image_id"], r["phrase_id"]) for r in records] == [
        (p.image_id, p.phrase_id) for p in phrases
    ]
    assert any(len(phrase.texts) > 1 for phrase in phrases)
    corners = np.array([box_xyxy(record) for record in records])
    assert ((corners >= 0) & (corners <= 64)).all()
    assert ((corners[:, 2:] - corners[:, :2]).prod(axis=1) > 0).any()
    assert len({(*r["bbox"], r["score"]) for r in records}) > 1  # texts are heard


@pytest.mark.parametrize("network", NETWORKS)
def test_as_transformers_is_used_by_hand(made: Path, network: str) -> None:
    index = load_index(made / "index.json")
    image = index.images[0]
    pixels = read_indexed(index.image_path(image), image)
    several: Phrase = max(
        (p for p in index_phrases(index) if p.image_id == image["id"]), key=lambda p: len(p.texts)
    )
    each = [literal_best(made / network, network, pixels, text) for text in several.texts]
    score, box = max(each, key=lambda found: found[0])
    records = read_boxes(made / f"{network}.json")
    (record,) = [r for r in records if r["phrase_id"] == several.phrase_id]
    assert record["score"] == pytest.approx(score, abs=1e-5)
    assert box_xyxy(record) == pytest.approx(np.clip(box, 0, 64).tolist(), abs=2e-3)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_bytes_twice_and_from_shards(made: Path, tmp_path: Path, network: str) -> None:
    again = tmp_path / "again.json"
    assert detect(made, network, again) == 0
    whole = (made / f"{network}.json").read_bytes()
    assert again.read_bytes() == whole
    parts = [tmp_path / f"{i}.json" for i in range(2)]
    for i, part in enumerate(parts):
        assert detect(made, network, part, "--shard", f"{i}/2") == 0
    merged = tmp_path / "merged.json"
    assert merge_shards.main(["--shards", *map(str, parts), "--output", str(merged)]) == 0
    assert merged.read_bytes() == whole


@pytest.mark.parametrize("network", NETWORKS)
def test_how_many_phrases_are_seen_at_once_changes_no_box(
    made: Path, tmp_path: Path, network: str
) -> None:
    assert detect(made, network, tmp_path / "one.json", "--batch-size", 1) == 0
    one, many = read_boxes(tmp_path / "one.json"), read_boxes(made / f"{network}.json")
    for alone, among in zip(one, many, strict=True):
        assert alone["bbox"] == pytest.approx(among["bbox"], abs=5e-3)


@pytest.mark.parametrize("network", NETWORKS)
def test_in_half_precision(made: Path, tmp_path: Path, network: str) -> None:
    output = tmp_path / "half.json"
    assert detect(made, network, output, "--precision", "bf16") == 0
    for half, whole in zip(read_boxes(output), read_boxes(made / f"{network}.json"), strict=True):
        assert half["score"] == pytest.approx(whole["score"], abs=0.02)


def as_published(folder: Path, network: str) -> None:
    """Turn a folder into the layout that lies on hubs: older files, SAM 3 with its tracker."""
    processor = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(processor["image_processor"]))
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    if network == "grounding_dino":
        (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n")
    else:
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / "merges.txt").write_text("#version: 0.2\n")
    if network == "sam3":
        config = json.loads((folder / "config.json").read_text())
        whole = {"model_type": "sam3_video", "detector_config": config}
        (folder / "config.json").write_text(json.dumps(whole))
        tensors = load_file(folder / "model.safetensors")
        tensors = {f"detector_model.{name}": tensor for name, tensor in tensors.items()}
        tensors["tracker_model.x"] = torch.ones(2)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("network", NETWORKS)
def test_the_layout_of_published_folders(made: Path, tmp_path: Path, network: str) -> None:
    shutil.copytree(made / network, tmp_path / "published")
    as_published(tmp_path / "published", network)
    given = arguments(made, network)
    given[given.index(str(made / network))] = str(tmp_path / "published")
    assert detect_phrases.main([*given, "--output", str(tmp_path / "boxes.json")]) == 0
    assert (tmp_path / "boxes.json").read_bytes() == (made / f"{network}.json").read_bytes()


def test_boxes_are_scored_as_any(made: Path, tmp_path: Path) -> None:
    for task in ("pointing_game", "bbox_accuracy"):
        output = tmp_path / f"{task}.json"
        options = command(task=task, index=made / "index.json", boxes=made / "owlv2.json")
        assert evaluate.main([*options, "--output", str(output)]) == 0
        assert json.loads(output.read_text())["metric"] == task


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("config.json", "has no config.json; name a folder"),
        ("model.safetensors", "has no model.safetensors; name a folder"),
        ("processor_config.json", "has no processor_config.json or preprocessor_config.json"),
        ("tokenizer.json", "has no tokenizer.json or vocab.txt or vocab.json with merges.txt"),
    ],
)
def test_a_folder_that_is_not_whole(
    made: Path, tmp_path: Path, refused: Callable[..., str], lacking: str, message: str
) -> None:
    shutil.copytree(made / "owlv2", tmp_path / "owlv2")
    (tmp_path / "owlv2" / lacking).unlink()
    (tmp_path / "owlv2" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")  # never looked at
    shutil.copy2(made / "index.json", tmp_path)
    options = arguments(tmp_path, "owlv2")
    assert message in refused(detect_phrases, *options, output=tmp_path / "out" / "boxes.json")


def test_a_folder_of_another_network_or_of_other_weights(
    made: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    output = tmp_path / "out" / "boxes.json"
    given = arguments(made, "owlv2")
    given[given.index(str(made / "owlv2"))] = str(made / "sam3")
    message = refused(detect_phrases, *given, output=output)
    assert "is of 'sam3', not of owlv2; name that network's folder" in message
    shutil.copytree(made / "owlv2", tmp_path / "owlv2")
    shutil.copy2(made / "index.json", tmp_path)
    weights = tmp_path / "owlv2" / "model.safetensors"
    whole = weights.read_bytes()
    shutil.copy2(made / "sam3" / "model.safetensors", weights)
    given = arguments(tmp_path, "owlv2")
    assert "tensors of Owlv2ForObjectDetection are missing" in refused(
        detect_phrases, *given, output=output
    )
    weights.write_bytes(whole[: len(whole) // 2])
    message = refused(detect_phrases, *given, output=output)
    assert "cannot be read from it" in message
    assert "get its files again" in message
