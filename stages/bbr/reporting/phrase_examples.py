"""Phrases to show, with what networks made of them, from files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.images import read_indexed
from ..data.index import Index
from ..data.phrases import Phrase, index_phrases
from ..errors import InputError
from ..evaluation.phrase_metrics import MIN_AREA, Unit, record_unions, require_phrases
from ..grounding.heatmaps_h5 import HeatmapFile
from ..storage.boxes_json import read_boxes
from .phrase_figure import Example, Result


def load_examples(
    dataset: Index,
    boxes: Sequence[Path],
    heatmaps: Sequence[Path] | None,
    count: int,
    seed: int | None,
) -> list[Example]:
    """Some phrases of an index with the results of each network, without a look at these.

    Args:
        boxes: of each network, with phrase ids.
        heatmaps: likewise; None where they are not to be shown.
        count: phrases.
        seed: of a random choice; None for the first ones.

    Raises:
        InputError: the files do not belong together, or an image cannot be read.
    """
    phrases = {(phrase.image_id, phrase.phrase_id): phrase for phrase in index_phrases(dataset)}
    chosen = _choose(dataset, phrases, count, seed)
    unions = []
    for path in boxes:
        records = read_boxes(path)
        require_phrases(records, phrases, path)
        unions.append(record_unions(records))
    maps = [_maps(path, chosen) for path in heatmaps] if heatmaps else [{} for _ in boxes]
    images = {image["id"]: image for image in dataset.images}
    return [
        Example(
            phrase=phrases[unit].texts[0],
            image=read_indexed(dataset.image_path(images[unit[0]]), images[unit[0]]),
            truths=phrases[unit].boxes,
            results=[Result(u.get(unit), m.get(unit)) for u, m in zip(unions, maps, strict=True)],
        )
        for unit in chosen
    ]


def _choose(
    dataset: Index, phrases: dict[Unit, Phrase], count: int, seed: int | None
) -> list[Unit]:
    """Phrases whose targets are evaluated, or that have none, in the order of the index."""
    sizes = {image["id"]: dataset.image_size(image) for image in dataset.images}
    units = [unit for unit, phrase in phrases.items() if _counts(phrase, sizes[unit[0]])]
    if not units:
        raise InputError(f"{dataset.path}: has no phrase to draw")
    if seed is None or count >= len(units):
        return units[:count]
    return [units[i] for i in sorted(random.Random(seed).sample(range(len(units)), count))]


def _counts(phrase: Phrase, size: tuple[int, int]) -> bool:
    areas = (phrase.boxes[:, 2:] - phrase.boxes[:, :2]).prod(1)
    return not len(areas) or bool((areas >= MIN_AREA * np.prod(size)).any())


def _maps(path: Path, units: list[Unit]) -> dict[Unit, np.ndarray]:
    with HeatmapFile(path) as file:
        known = zip(file.image_id.tolist(), file.phrase_id.tolist(), strict=True)
        positions = {unit: position for position, unit in enumerate(known)}
        missing = [unit for unit in units if unit not in positions]
        if missing:
            raise InputError(
                f"heatmaps {path}: no map of phrase {missing[0][1]} of image {missing[0][0]}; make "
                "them from the same index"
            )
        maps = file.read(np.array([positions[unit] for unit in units]))
    return dict(zip(units, maps, strict=True))
