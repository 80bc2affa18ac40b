"""Captions that stand for phrases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bbr.data.phrases import Phrase
from bbr.errors import InputError
from bbr.evaluation.matches import (
    caption_targets,
    nearest_caption,
    read_matches,
    through_captions,
    write_matches,
)
from bbr.evaluation.phrase_metrics import Target


def test_the_nearest_by_the_mean_over_sentences() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        phrase, captions = rng.normal(size=(3, 6)), rng.normal(size=(5, 6))
        phrase /= np.linalg.norm(phrase, axis=1, keepdims=True)
        captions /= np.linalg.norm(captions, axis=1, keepdims=True)
        cosines = [np.mean([sentence @ caption for sentence in phrase]) for caption in captions]
        best, cosine = nearest_caption(phrase, captions)
        assert best == int(np.argmax(cosines))
        assert cosine == pytest.approx(max(cosines), abs=1e-5)


def test_of_equal_captions_the_first() -> None:
    # Rounding in the last digit must not decide.
    captions = np.array([[0.0, 1.0], [1.0, 1e-9], [1.0, 0.0]])
    assert nearest_caption(np.array([[1.0, 0.0]]), captions) == (1, 1.0)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "matches.json"
    match = {"image_id": 3, "phrase_id": 7, "caption_id": 2, "cosine": 0.5}
    write_matches(path, [match], {"stage": "x"})
    assert read_matches(path) == {(3, 7): (3, 2)}


@pytest.mark.parametrize("content", [[], {}, {"matches": 3}, {"matches": [{"image_id": 1}]}])
def test_other_files_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "matches.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"no matches; match_captions\.py writes them"):
        read_matches(path)


def test_what_was_found_for_captions_is_found_for_their_phrases() -> None:
    matches = {(1, 10): (1, 1), (1, 11): (1, 1), (1, 12): (1, 2), (2, 13): (2, 1)}
    found = {(1, 1): "a", (2, 1): "b"}
    assert through_captions(found, matches) == {(1, 10): "a", (1, 11): "a", (2, 13): "b"}


def test_each_caption_is_asked_for_once_and_at_its_image_s_size() -> None:
    def target(image_id: int, phrase_id: int) -> Target:
        return Target(Phrase(image_id, phrase_id, ("x",), np.zeros((1, 4)), 1), (image_id, 9))

    targets = [target(1, 10), target(1, 11), target(2, 13), target(3, 14)]
    matches = {(1, 10): (1, 5), (1, 11): (1, 5), (2, 13): (2, 1)}
    asked = caption_targets(targets, matches)
    assert [(t.unit, t.image_size) for t in asked] == [((1, 5), (1, 9)), ((2, 1), (2, 9))]
