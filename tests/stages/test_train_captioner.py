"""train_captioner.py through its command line, on a few scenes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import render_scenes
import train_captioner
from small_runs import command

from bbr.captioning.blip import CaptionOptions, load_captioner
from bbr.data.images import read_rgb
from bbr.data.index import load_index
from bbr.storage.json_files import read_json
from bbr.training.checkpoint import Checkpoint

SMALL = command(
    object_crops=1,
    window_crops=1,
    image_size=32,
    width=16,
    layers=1,
    heads=2,
    context_length=24,
    steps=3,
    batch_size=8,
    lr=1e-3,
    warmup=1,
    device="cpu",
    threads=1,
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("captioner") / "index.json"
    scenes = command(preset="regions", count=5, size=48, seed=2, output=path)
    assert render_scenes.main(scenes) == 0
    return path


@pytest.fixture(scope="module")
def trained(index: Path) -> Path:
    path = index.parent / "captioner.safetensors"
    assert train(index, path) == 0
    return path


def train(index: Path, output: Path, *more: str) -> int:
    return train_captioner.main(["--index", str(index), "--output", str(output), *SMALL, *more])


def test_it_can_be_asked(index: Path, trained: Path) -> None:
    captioner = load_captioner(str(trained))
    dataset = load_index(index)
    pixels = [read_rgb(dataset.image_path(image)) for image in dataset.images]
    said = captioner.generate(captioner.observe(pixels), CaptionOptions(max_length=9))
    words = set(captioner.spec.vocabulary)
    assert all(text and set(text.split()) <= words for text in said)
    known = {w for a in dataset.annotations for w in a["phrases"][0].lower().split()}
    assert "background" in words
    assert words & known


def test_the_same_seed_gives_the_same_bytes(index: Path, trained: Path, tmp_path: Path) -> None:
    assert train(index, tmp_path / "again.safetensors") == 0
    assert (tmp_path / "again.safetensors").read_bytes() == trained.read_bytes()


def test_a_resumed_run_ends_with_the_same_bytes(
    index: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, save = tmp_path / "again.safetensors", Checkpoint.save_when_due

    def save_and_die(self: Checkpoint, step: int, *state: object) -> None:
        save(self, step, *state)
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save_when_due", save_and_die)
        assert train(index, path, "--checkpoint-seconds", "0") == 130
    assert not path.exists()
    assert train(index, path) == 0
    assert path.read_bytes() == trained.read_bytes()


def test_images_without_phrases_are_refused(tmp_path: Path, scenes: Path, refused: object) -> None:
    content = json.dumps(read_json(scenes)).replace('"phrase_id"', '"number"')
    bare = scenes.parent / "bare.json"
    bare.write_text(content)
    message = refused(train_captioner, "--index", bare, *SMALL, output=tmp_path / "x.safetensors")
    assert "no image has an object with a phrase of its own" in message
