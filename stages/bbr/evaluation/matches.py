"""Which predicted caption stands for each phrase of the ground truth ("what is where by looking").

`matches.json` is {"info", "matches"}; a match is {"image_id", "phrase_id", "caption_id", "cosine"},
where caption_id is the phrase id of the caption in the described index. Reading needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import InputError
from ..storage.json_files import read_json, write_json
from .phrase_metrics import Target, Unit

T = TypeVar("T")
_DIGITS = 5  # cosines that differ by less are equal, and the first caption is taken


def nearest_caption(phrase: np.ndarray, captions: np.ndarray) -> tuple[int, float]:
    """The caption whose embedding is nearest to a phrase.

    Args:
        phrase: (m, d) unit embeddings of its sentences, which are averaged.
        captions: (n, d) unit embeddings; n is at least 1.

    Returns:
        The caption's position, the first of several, and its mean cosine.
    """
    mean = np.asarray(phrase, dtype=np.float64).mean(0)
    cosines = (np.asarray(captions, dtype=np.float64) @ mean).round(_DIGITS)
    best = int(cosines.argmax())
    return best, float(cosines[best])


def write_matches(
    path: Path | str, matches: Iterable[dict[str, Any]], provenance: dict[str, Any]
) -> None:
    """Write matches.json."""
    write_json(path, {"info": {"provenance": provenance}, "matches": list(matches)})


def read_matches(path: Path | str) -> dict[Unit, Unit]:
    """The (image id, caption id) of each (image id, phrase id) that has one.

    Raises:
        InputError: the file is missing or something else.
    """
    content = read_json(path)
    try:
        return {
            (m["image_id"], m["phrase_id"]): (m["image_id"], m["caption_id"])
            for m in content["matches"]
        }
    except (KeyError, TypeError):
        raise InputError(f"{path}: no matches; match_captions.py writes them") from None


def caption_targets(targets: Iterable[Target], matches: Mapping[Unit, Unit]) -> list[Target]:
    """The captions that stand for targets, each once, as targets of their own.

    Their boxes are of no matter: they say which captions' maps are asked for, and at what size.
    """
    found: dict[Unit, Target] = {}
    for target in targets:
        if target.unit in matches:
            caption = matches[target.unit]
            phrase = replace(target.phrase, phrase_id=caption[1])
            found.setdefault(caption, Target(phrase, target.image_size))
    return list(found.values())


def through_captions(found: Mapping[Unit, T], matches: Mapping[Unit, Unit]) -> dict[Unit, T]:
    """What was found for captions, as found for the phrases that they stand for."""
    return {unit: found[caption] for unit, caption in matches.items() if caption in found}
