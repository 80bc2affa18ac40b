"""Metrics on disk: scores with their labels, which say what was measured and place it in tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .json_files import read_json

Labels = dict[str, str]

_METRIC_KEYS = ("task", "labels", "score", "outcomes")
_COMPARISON_KEYS = ("task", "labels", "baseline", "candidate", "difference", "p_value")


def parse_labels(pairs: Iterable[str], option: str = "--label") -> Labels:
    """`key=value` texts, given to `option`, as a dictionary.

    Raises:
        InputError: a text has no `=` or no key, or a key comes twice.
    """
    labels: Labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise InputError(f"{option} {pair}: not of the form key=value")
        if key in labels:
            raise InputError(f"{option} {pair}: {key} is given twice")
        labels[key] = value
    return labels


def read_metrics(path: Path | str) -> dict[str, Any]:
    """A metrics.json, as `evaluate.py` writes it.

    Raises:
        InputError: the file is missing or something else.
    """
    metrics = _read(path, _METRIC_KEYS, "metrics", "evaluate.py")
    outcomes = metrics["outcomes"]
    if not isinstance(outcomes, dict) or not {"image_id", "correct"} <= set(outcomes):
        raise InputError(f"{path}: holds no outcomes per image; evaluate again")
    if len({len(outcomes[k]) for k in ("image_id", "phrase_id", "correct") if k in outcomes}) > 1:
        raise InputError(f"{path}: has not one outcome per image; evaluate again")
    return metrics


def read_comparison(path: Path | str) -> dict[str, Any]:
    """A comparison.json, as `compare_metrics.py` writes it.

    Raises:
        InputError: the file is missing or something else.
    """
    return _read(path, _COMPARISON_KEYS, "comparison", "compare_metrics.py")


def is_comparison(path: Path | str) -> bool:
    """Whether a file holds a comparison rather than the metrics of one thing."""
    content = read_json(path)
    return isinstance(content, dict) and "difference" in content


def _read(path: Path | str, keys: tuple[str, ...], kind: str, maker: str) -> dict[str, Any]:
    content = read_json(path)
    complete = isinstance(content, dict) and set(keys) <= set(content)
    if not complete or not isinstance(content["labels"], dict):
        raise InputError(f"{path}: not a {kind} file; {maker} writes them")
    return content


def aligned_outcomes(
    baseline: dict[str, Any], candidate: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The outcomes of two metrics, paired by image, or by phrase where they are of phrases.

    Returns:
        Two (n,) integer arrays of 0 and 1, in the order of the ids, and (n,) the image of each.

    Raises:
        InputError: the two were not measured on the same images or phrases.
    """
    first, second = _by_unit(baseline), _by_unit(candidate)
    alone = sorted(first.keys() ^ second.keys())
    if alone:
        kind = "phrases" if "phrase_id" in baseline["outcomes"] else "images"
        raise InputError(
            f"the metrics are of different {kind}: {len(alone)} are in only one of them (first: "
            f"{', '.join(map(str, alone[0]))}); evaluate both on the same index"
        )
    units = sorted(first)
    images = np.array([unit[0] for unit in units])
    return np.array([first[u] for u in units]), np.array([second[u] for u in units]), images


def _by_unit(metrics: dict[str, Any]) -> dict[tuple[int, ...], int]:
    """Outcomes by (image id,) or (image id, phrase id)."""
    outcomes = metrics["outcomes"]
    ids = [outcomes[key] for key in ("image_id", "phrase_id") if key in outcomes]
    return dict(zip(zip(*ids, strict=True), outcomes["correct"], strict=True))
