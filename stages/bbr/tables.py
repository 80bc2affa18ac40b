"""Tables in the paper's layout: long-form scores in, rows of text out, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import InputError
from .metric_files import Labels
from .statistics import mean_and_deviation, seed_interval

Key = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A finished table: every cell is text."""

    header: list[str]
    rows: list[list[str]]
    caption: str


@dataclass(frozen=True)
class Score:
    """One number and the labels that say where it belongs; `source` is for error messages."""

    labels: Labels
    value: float
    source: str


@dataclass(frozen=True)
class Layout:
    """How scores make one of the paper's tables.

    Attributes:
        rows: the labels that tell rows apart.
        columns: the labels that tell columns apart.
        heading: the head of the first column.
        name_row: the text of the first column, from the values of `rows`.
        main: the `output` label of a cell's main number.
        bracketed: the `output` label of the number in brackets.
        fixed: labels that every score of this table has, and their values.
        defaults: values of labels that may be left out.
        last_rows: rows that come after all others, such as controls.
        caption: what the numbers are.
        decimals: of every number.
        shared: a label whose value ANY stands for every value of the other scores: what no
            training set changes is in the columns of all of them.
    """

    rows: Key
    columns: Key
    heading: str
    name_row: Callable[[Key], str]
    main: str
    bracketed: str
    fixed: Mapping[str, str]
    defaults: Mapping[str, str]
    last_rows: tuple[Key, ...]
    caption: str
    decimals: int = 1
    shared: str = ""


ANY = "any"
NOT_REFINED = "f, not refined"  # the row of table 6 that the gains start from


def _name_discovery_row(row: Key) -> str:
    method, cad = row
    return f"{method} + CAD" if cad == "yes" else method


def _name_grounding_row(row: Key) -> str:
    method, backbone = row
    return method if backbone in ("", method) else f"{method} ({backbone})"


LAYOUTS = {
    "4": Layout(
        rows=("method", "cad"),
        columns=("dataset",),
        heading="model",
        name_row=_name_discovery_row,
        main="method",
        bracketed="h",
        fixed={"metric": "corloc"},
        defaults={"cad": "no", "output": "method", "seed": ""},
        last_rows=(("Centre box", "no"), ("Whole image", "no"), ("LOST, random-init f", "no")),
        caption="CorLoc in percent; in brackets that of the boxes of h. "
        "Several seeds: mean ± standard deviation.",
    ),
    "6": Layout(
        rows=("ablation",),
        columns=("heuristic", "dataset"),
        heading="ablation",
        name_row=" ".join,
        main="method",
        bracketed="h",
        fixed={"metric": "corloc"},
        defaults={"output": "method", "seed": ""},
        last_rows=((NOT_REFINED,),),
        caption="CorLoc in percent of f^h, by heuristic and dataset. "
        "Several seeds: mean ± standard deviation.",
        decimals=2,
    ),
    "1": Layout(
        rows=("method", "backbone"),
        columns=("train", "test"),
        heading="model",
        name_row=_name_grounding_row,
        main="map",
        bracketed="h",
        fixed={"metric": "pointing_game"},
        defaults={"output": "map", "seed": ""},
        last_rows=(),
        caption="Pointing game in percent, by training set and test set. Methods that are not "
        "trained have the same number for each training set. Several seeds: mean ± standard "
        "deviation.",
        decimals=2,
        shared="train",
    ),
    "2": Layout(
        rows=("train", "method"),
        columns=("test",),
        heading="training set, model",
        name_row=", ".join,
        main="map",
        bracketed="h",
        fixed={"metric": "bbox_accuracy"},
        defaults={"output": "map", "seed": ""},
        last_rows=(),
        caption="Bounding box accuracy in percent, by test set; in brackets that of the boxes of "
        "h. Several seeds: mean ± standard deviation.",
        decimals=2,
        shared="train",
    ),
    "3": Layout(
        rows=("train", "method"),
        columns=("metric", "test"),
        heading="training set, model",
        name_row=", ".join,
        main="map",
        bracketed="h",
        fixed={},
        defaults={"output": "map", "seed": ""},
        last_rows=(),
        caption='"What is where by looking": pointing game and bounding box accuracy in percent of '
        "captions that were found without a question, by test set. Several seeds: mean ± standard "
        "deviation.",
        decimals=2,
    ),
    "5": Layout(
        rows=("ablation",),
        columns=("metric", "test"),
        heading="ablation",
        name_row=" ".join,
        main="map",
        bracketed="h",
        fixed={},
        defaults={"output": "map", "seed": ""},
        last_rows=(),
        caption="Pointing game and bounding box accuracy in percent of g^h, by test set. Several "
        "seeds: mean ± standard deviation.",
        decimals=2,
    ),
}
LAYOUTS["average_precision"] = replace(
    LAYOUTS["4"],
    fixed={"metric": "ap"},
    caption="AP50 in percent of all boxes of each image, whatever their class; in brackets that "
    "of the boxes of h. Several seeds: mean ± standard deviation.",
)


def paper_table(
    layout: Layout, measured: Iterable[Score], published: Iterable[Score] = ()
) -> Table:
    """Measured scores in a table of the paper's layout, beside the published ones.

    A column of the paper's (a dataset it reports) is followed by its published values, and rows
    that only the paper has are listed too, marked as such. Columns that the paper does not have
    stand alone. Rows and columns keep the paper's order; the paper's come first, then others in
    the order of `measured`, then the layout's last rows.

    Raises:
        InputError: a score lacks a label, belongs to another table, or two have the same place
            and seed.
    """
    measured, published = list(measured), list(published)
    if layout.shared:
        measured = _spread(measured, layout.shared, published)
    ours, theirs = _Cells(layout, measured), _Cells(layout, published)
    columns = [key for key in theirs.columns if key in ours.columns]
    reported = set(columns)
    columns += [key for key in ours.columns if key not in reported]
    rows = [row for row in theirs.rows if _has_any(theirs, row, reported) or row in ours.rows]
    rows += [row for row in ours.rows if row not in rows]
    rows.sort(key=lambda row: layout.last_rows.index(row) + 1 if row in layout.last_rows else 0)

    header = [layout.heading]
    for column in columns:
        name = " ".join(column)
        header += [name, f"{name} published"] if column in reported else [name]
    if reported:
        header.append("source")
    lines = []
    for row in rows:
        line = [layout.name_row(row)]
        for column in columns:
            line.append(ours.text(row, column))
            if column in reported:
                line.append(theirs.text(row, column))
        if reported:
            line.append("measured" if row in ours.rows else "published")
        lines.append(line)
    return Table(header, lines, layout.caption)


def _spread(scores: list[Score], label: str, published: list[Score]) -> list[Score]:
    """The scores, those whose `label` is ANY once for each value that the others have.

    The published values count where no other measured score has one.
    """
    named = [s for s in scores if s.labels.get(label) != ANY] or published
    values = dict.fromkeys(score.labels[label] for score in named if label in score.labels)
    spread: list[Score] = []
    for score in scores:
        own = values if values and score.labels.get(label) == ANY else [score.labels.get(label)]
        spread += [
            replace(score, labels=score.labels if v is None else {**score.labels, label: v})
            for v in own
        ]
    return spread


def _has_any(cells: _Cells, row: Key, columns: Iterable[Key]) -> bool:
    return any(cells.text(row, column) for column in columns)


class _Cells:
    """Scores by row, column and output; each cell holds one value per seed."""

    def __init__(self, layout: Layout, scores: Iterable[Score]) -> None:
        self.layout = layout
        self.rows: dict[Key, None] = {}  # a dictionary, as a set that keeps its order
        self.columns: dict[Key, None] = {}
        self._values: dict[tuple[Key, Key, str], dict[str, Score]] = {}
        for score in scores:
            self._add(score)

    def _add(self, score: Score) -> None:
        labels = {**self.layout.defaults, **score.labels}
        for key, expected in self.layout.fixed.items():
            if labels.get(key) != expected:
                raise InputError(
                    f"{score.source}: {key} is {labels.get(key)}, and this table is of {expected}"
                )
        outputs = (self.layout.main, self.layout.bracketed)
        if labels["output"] not in outputs:
            raise InputError(
                f"{score.source}: output is {labels['output']}; this table has "
                f"{' and '.join(outputs)}"
            )
        row = tuple(_label(labels, key, score.source) for key in self.layout.rows)
        column = tuple(_label(labels, key, score.source) for key in self.layout.columns)
        self.rows[row] = self.columns[column] = None
        by_seed = self._values.setdefault((row, column, labels["output"]), {})
        _put_once(by_seed, labels["seed"], score)

    def text(self, row: Key, column: Key) -> str:
        """`62.0`, `62.0 (42.1)`, `62.0 ± 0.4 (42.1 ± 1.0)`, `(42.1)` or nothing."""
        main = self._mean(row, column, self.layout.main)
        bracketed = self._mean(row, column, self.layout.bracketed)
        return " ".join(part for part in (main, bracketed and f"({bracketed})") if part)

    def _mean(self, row: Key, column: Key, output: str) -> str:
        scores = self._values.get((row, column, output), {}).values()
        if not scores:
            return ""
        mean, deviation = mean_and_deviation([score.value for score in scores])
        places = self.layout.decimals
        text = f"{mean:.{places}f}"
        return text if len(scores) == 1 else f"{text} ± {deviation:.{places}f}"


def _label(labels: Mapping[str, str], key: str, source: str) -> str:
    if key not in labels:
        raise InputError(f"{source}: has no label {key}; evaluate it with --label {key}=...")
    return labels[key]


def _put_once(by_seed: dict[str, Any], seed: str, entry: Any) -> None:
    if seed in by_seed:
        raise InputError(
            f"{by_seed[seed].source} and {entry.source} have the same labels: name each file "
            "once, and give each seed its own --label seed=..."
        )
    by_seed[seed] = entry


@dataclass(frozen=True)
class Gain:
    """f^h against f for one seed, from a comparison.json."""

    labels: Labels
    baseline: float
    candidate: float
    difference: float
    p_value: float
    source: str


_STUDY_KEYS = ("dataset", "images", "method", "cad")
_NOTHING = "–"


def gains_table(gains: Iterable[Gain], detectors: Iterable[Score] = ()) -> Table:
    """What refinement gains, seed by seed: one row per dataset, images, method and CAD or none.

    Cells that differ from seed to seed list one value per seed, in the order of the column
    `seeds`.

    Args:
        gains: one per row and seed.
        detectors: scores of h's own boxes, labelled as the gain that they belong to.

    Raises:
        InputError: a label is missing, two entries have the same place and seed, or h was
            measured where f^h was not.
    """
    rows = _by_row_and_seed(gains)
    own = _by_row_and_seed(detectors)
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
        header=["dataset", "images", "method", "seeds", "f", "f^h", "h", "gain",
                "McNemar p", "mean gain", "95 % interval"],
        rows=[_gain_row(key, rows[key], own.get(key, {})) for key in rows],
        caption="CorLoc in percent of f, f^h and the boxes of h, one value per seed; gain of f^h "
        "over f in points, and McNemar's exact p-value, likewise. The interval of the mean gain "
        "is Student's over seeds.",
    )  # fmt: skip


def _by_row_and_seed(entries: Iterable[Any]) -> dict[Key, dict[str, Any]]:
    rows: dict[Key, dict[str, Any]] = {}
    for entry in entries:
        labels = {"cad": "no", **entry.labels}
        key = tuple(_label(labels, name, entry.source) for name in _STUDY_KEYS)
        _put_once(rows.setdefault(key, {}), entry.labels.get("seed", ""), entry)
    return rows


def _gain_row(key: Key, gains: dict[str, Gain], detectors: dict[str, Score]) -> list[str]:
    seeds = sorted(gains, key=lambda seed: (len(seed), seed))  # 2 before 10
    ordered = [gains[seed] for seed in seeds]
    baselines = [gain.baseline for gain in ordered]
    differences = [gain.difference for gain in ordered]
    low, high = seed_interval(differences)
    dataset, images, *row = key
    return [
        dataset,
        images,
        _name_discovery_row(tuple(row)),
        _join(seeds),
        _join(f"{score:.2f}" for score in (baselines if len({*baselines}) > 1 else baselines[:1])),
        _join(f"{gain.candidate:.2f}" for gain in ordered),
        _join(f"{detectors[s].value:.2f}" if s in detectors else _NOTHING for s in seeds),
        _join(f"{difference:+.2f}" for difference in differences),
        _join(f"{gain.p_value:.2g}" for gain in ordered),
        f"{mean_and_deviation(differences)[0]:+.2f}",
        f"[{low:+.2f}, {high:+.2f}]" if len(seeds) > 1 else _NOTHING,
    ]


def _join(values: Iterable[str]) -> str:
    return ", ".join(values)


def encode_csv(table: Table) -> bytes:
    """The table as CSV in UTF-8."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.header, *table.rows])
    return text.getvalue().encode()


def encode_markdown(table: Table) -> bytes:
    """The table as a Markdown pipe table, its columns aligned in the source, and its caption."""
    widths = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_pipe(cells, widths) for cells in (table.header, rule, *table.rows)]
    return ("\n".join([*lines, "", table.caption]) + "\n").encode()


def _pipe(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line: the first column flush left, the others flush right."""
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    padded[0] = cells[0].ljust(widths[0])
    return f"| {' | '.join(padded)} |"
