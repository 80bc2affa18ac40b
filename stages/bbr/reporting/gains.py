"""What refinement gains, seed by seed: f^h against f, or g^h against g, as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..evaluation.statistics import mean_and_deviation, seed_interval
from ..storage.metrics_json import Labels
from .paper_tables import Key, name_discovery_row
from .tables import Score, Table, label_of, put_once

_NOTHING = "–"


@dataclass(frozen=True)
class Gain:
    """f^h against f for one seed, from a comparison.json."""

    labels: Labels
    baseline: float
    candidate: float
    difference: float
    p_value: float
    source: str


@dataclass(frozen=True)
class GainLayout:
    """How gains make a table.

    Attributes:
        keys: the labels that tell rows apart.
        heads: of the columns that say what a row is of.
        name_row: the texts in them, from the values of `keys`.
        networks: what the baseline and the candidate are called.
        test: what the p-value is called.
        defaults: values of labels that may be left out.
        caption: what the numbers are.
    """

    keys: Key
    heads: tuple[str, ...]
    name_row: Callable[[Key], list[str]]
    networks: tuple[str, str]
    test: str
    defaults: Mapping[str, str]
    caption: str


def _name_study_row(row: Key) -> list[str]:
    dataset, images, variant, *method = row
    name = name_discovery_row(tuple(method))
    return [dataset, images, name if variant == "default" else f"{name}, {variant}"]


def _name_phrases_row(row: Key) -> list[str]:
    metric, threshold, *rest = row
    name = metric.replace("_", " ")
    return [f"{name}, {threshold}" if threshold else name, *rest]


GAIN_LAYOUTS = {
    "gains": GainLayout(
        keys=("dataset", "images", "variant", "method", "cad"),
        heads=("dataset", "images", "method"),
        name_row=_name_study_row,
        networks=("f", "f^h"),
        test="McNemar p",
        defaults={"cad": "no", "variant": "default"},
        caption="CorLoc in percent of f, f^h and the boxes of h, one value per seed; gain of f^h "
        "over f in points, and McNemar's exact p-value, likewise. The interval of the mean gain "
        "is Student's over seeds.",
    ),
    "phrase_gains": GainLayout(
        keys=("metric", "box_threshold", "train", "test", "ablation"),
        heads=("metric", "training set", "test set", "model"),
        name_row=_name_phrases_row,
        networks=("g", "g^h"),
        test="sign-flip p",
        defaults={"box_threshold": ""},
        caption="Pointing game and bounding box accuracy in percent of g, g^h and the boxes of h; "
        "maps are cut at half of their range (minmax, the released code) or at 0.5 (absolute, the "
        "text). One value per seed; gain of g^h over g in points, and the p-value of the sign-flip "
        "test of whole images, likewise. The interval of the mean gain is Student's over seeds.",
    ),
}


def gains_table(
    layout: GainLayout, gains: Iterable[Gain], detectors: Iterable[Score] = ()
) -> Table:
    """What refinement gains, seed by seed: one row for each value of the layout's keys.

    Cells that differ from seed to seed list one value per seed, in the order of the column
    `seeds`.

    Args:
        gains: one per row and seed.
        detectors: scores of h's own boxes, labelled as the gain that they belong to.

    Raises:
        InputError: a label is missing, two entries have the same place and seed, or h was
            measured where f^h was not.
    """
    rows = _by_row_and_seed(layout, gains)
    own = _by_row_and_seed(layout, detectors)
    for key, by_seed in own.items():
        for seed, score in by_seed.items():
            if score.labels.get("output") != "h":
                raise InputError(
                    f"{score.source}: gains are made from comparisons, and from metrics that have "
                    "the label output=h"
                )
            if seed not in rows.get(key, {}):
                raise InputError(
                    f"{score.source}: no comparison of {' '.join(key)}, seed {seed or 'unset'}"
                )
    return Table(
        header=[
            *layout.heads,
            "seeds",
            *layout.networks,
            "h",
            "gain",
            layout.test,
            "mean gain",
            "95 % interval",
        ],
        rows=[layout.name_row(key) + _gain_cells(rows[key], own.get(key, {})) for key in rows],
        caption=layout.caption,
    )


def _by_row_and_seed(layout: GainLayout, entries: Iterable[Any]) -> dict[Key, dict[str, Any]]:
    rows: dict[Key, dict[str, Any]] = {}
    for entry in entries:
        labels = {**layout.defaults, **entry.labels}
        key = tuple(label_of(labels, name, entry.source) for name in layout.keys)
        put_once(rows.setdefault(key, {}), entry.labels.get("seed", ""), entry)
    return rows


def _gain_cells(gains: dict[str, Gain], detectors: dict[str, Score]) -> list[str]:
    seeds = sorted(gains, key=lambda seed: (len(seed), seed))  # 2 before 10
    ordered = [gains[seed] for seed in seeds]
    baselines = [gain.baseline for gain in ordered]
    differences = [gain.difference for gain in ordered]
    low, high = seed_interval(differences)
    of_h = [f"{detectors[s].value:.2f}" if s in detectors else _NOTHING for s in seeds]
    return [
        _join(seeds),
        _join(f"{score:.2f}" for score in (baselines if len({*baselines}) > 1 else baselines[:1])),
        _join(f"{gain.candidate:.2f}" for gain in ordered),
        _join(of_h) if detectors else _NOTHING,
        _join(f"{difference:+.2f}" for difference in differences),
        _join(f"{gain.p_value:.2g}" for gain in ordered),
        f"{mean_and_deviation(differences)[0]:+.2f}",
        f"[{low:+.2f}, {high:+.2f}]" if len(seeds) > 1 else _NOTHING,
    ]


def _join(values: Iterable[str]) -> str:
    return ", ".join(values)
