"""excite_classifier.py on the command line, on a few scenes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import excite_classifier
import numpy as np
import pytest
import render_scenes
import torch
from small_runs import ONE_THREAD, command

from bbr.data.images import read_rgb
from bbr.data.index import load_index
from bbr.data.phrases import index_phrases
from bbr.grounding.classifiers import class_names, last_words, load_classifier, named_classes
from bbr.grounding.excitation import ExcitationNetwork
from bbr.grounding.heatmaps_h5 import HeatmapFile
from bbr.storage.json_files import read_json

SIZES = command(image_size=64, size=16, batch_size=3)


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scenes") / "index.json"
    options = command(preset="regions_test", count=5, size=64, seed=9, output=path)
    assert render_scenes.main(options) == 0
    return path


def excite(index: Path, output: Path, *more: str) -> int:
    options = command(index=index, output=output)
    return excite_classifier.main([*options, *SIZES, "--device", "cpu", *ONE_THREAD, *more])


def test_each_phrase_has_the_map_of_its_class(tmp_path, index):
    """Batches against one image and one class at a time."""
    assert excite(index, tmp_path / "maps.h5") == 0
    dataset = load_index(index)
    phrases = {(p.image_id, p.phrase_id): p.texts for p in index_phrases(dataset)}
    paths = {image["id"]: dataset.image_path(image) for image in dataset.images}
    loaded, by_word = load_classifier("efficientnet_lite0"), last_words(class_names())
    network, found = ExcitationNetwork(loaded.network), set()
    with HeatmapFile(tmp_path / "maps.h5") as file:
        units = list(zip(file.image_id.tolist(), file.phrase_id.tolist(), strict=True))
        assert set(units) == set(phrases)
        maps = file.read(np.arange(len(file)))
    assert (maps.max(axis=(1, 2)) > 0.999).all()
    for unit, heatmap in list(zip(units, maps, strict=True))[::7]:
        pixels = torch.from_numpy(read_rgb(paths[unit[0]])).permute(2, 0, 1)[None].float() / 255
        seen, read = network.observe(loaded.prepare(pixels, 64), 16)
        (text,) = phrases[unit]
        likeliest = network.last(read)[0].argsort(descending=True).tolist()
        named = named_classes(text, by_word) or likeliest
        wanted = next(c for c in likeliest if c in named)
        found.add(named is likeliest)
        won = network.contrast(seen, read, torch.tensor([wanted]))
        drawn = torch.nn.functional.interpolate(won[None], (16, 16), mode="bilinear")[0, 0]
        np.testing.assert_allclose(heatmap, drawn / drawn.max(), atol=2e-3)  # float16
    assert found == {True, False}


def test_same_bytes_each_time(tmp_path, index):
    for name in ("a.h5", "b.h5"):
        assert excite(index, tmp_path / name) == 0
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_bad_input_is_one_line(tmp_path, index, capsys):
    plain = tmp_path / "plain.json"
    content = read_json(index)
    for annotation in content["annotations"]:
        annotation.pop("phrases", None)
        annotation.pop("phrase_id", None)
    plain.write_text(json.dumps(content))
    for bad, more, message in (
        (plain, [], "has no phrases"),
        (index, ["--classifier", "lenet"], "--classifier 'lenet'"),
        (index, ["--classifier-weights", "w.pth"], "come from a package"),
    ):
        capsys.readouterr()
        assert excite(bad, tmp_path / "bad.h5", *more) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert re.fullmatch(rf".* error: .*{message}.*", last)
        assert not (tmp_path / "bad.h5").exists()
