"""Tables in the paper's layout: long-form scores in, rows of text out, CSV and Markdown.

pandas takes half a second to import, so it is imported where a file is read or written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..evaluation.statistics import compare_paired, mean_and_deviation
from ..storage.atomic import write_bytes
from ..storage.metrics_json import Labels, aligned_outcomes
from .paper_tables import ANY, Key, Layout

if TYPE_CHECKING:
    from pandas import DataFrame

_LEVEL = 0.05  # of the paired tests


@dataclass(frozen=True)
class Table:
    """A finished table: every cell is text."""

    header: list[str]
    rows: list[list[str]]
    caption: str


@dataclass(frozen=True)
class Score:
    """One number and the labels that say where it belongs.

    Attributes:
        source: the file, for error messages.
        metrics: all that the file holds, for paired tests; None where it is a published number.
    """

    labels: Labels
    value: float
    source: str
    metrics: dict[str, Any] | None = None


def paper_table(
    layout: Layout, measured: Iterable[Score], published: Iterable[Score] = ()
) -> Table:
    """Measured scores in a table of the paper's layout, beside the published ones.

    A column of the paper's (a dataset it reports) is followed by its published values, and rows
    that only the paper has are listed too, marked as such. Columns that the paper does not have
    stand alone. Rows and columns keep the paper's order; the paper's come first, then others in
    the order of `measured`, then the layout's last rows.

    An arrow behind a number says that it is above or below that of its `layout.before` row by more
    than chance explains, image by image and in each seed; the caption says how.

    Raises:
        InputError: a score lacks a label, belongs to another table, or two have the same place
            and seed.
    """
    measured, published = list(measured), list(published)
    if layout.shared:
        measured = spread(measured, layout.shared, published)
    ours, theirs = Cells(layout, measured), Cells(layout, published)
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
    compared = any(layout.before(row) for row in ours.rows)
    return Table(header, lines, layout.caption + (_sampling_error(measured) if compared else ""))


def spread(scores: list[Score], label: str, published: list[Score]) -> list[Score]:
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


def _sampling_error(scores: list[Score]) -> str:
    """What a caption says of chance: how far the number of so few images may lie from the truth."""
    counts = [len(s.metrics["outcomes"]["correct"]) for s in scores if s.metrics is not None]
    if not counts:
        return ""
    points = 100 * 1.96 * 0.5 / min(counts) ** 0.5
    return (
        f" ↑, ↓: told from the row without refinement by a paired test (p < {_LEVEL:g}); the rest"
        f" may be chance. One number alone is known to ±{points:.1f} points or better (95 %,"
        f" {min(counts)} outcomes)."
    )


def _has_any(cells: Cells, row: Key, columns: Iterable[Key]) -> bool:
    return any(cells.text(row, column) for column in columns)


class Cells:
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
        row = tuple(label_of(labels, key, score.source) for key in self.layout.rows)
        column = tuple(label_of(labels, key, score.source) for key in self.layout.columns)
        self.rows[row] = self.columns[column] = None
        by_seed = self._values.setdefault((row, column, labels["output"]), {})
        put_once(by_seed, labels["seed"], score)

    @property
    def places(self) -> Iterable[tuple[Key, Key, str]]:
        """Row, column and output of each number, in the order in which they came."""
        return self._values.keys()

    def scores(self, row: Key, column: Key, output: str) -> list[Score]:
        """One score for each seed."""
        return list(self._values.get((row, column, output), {}).values())

    def text(self, row: Key, column: Key) -> str:
        """`62.0`, `62.0↑ (42.1)`, `62.0 ± 0.4 (42.1 ± 1.0)`, `(42.1)` or nothing."""
        main = self._mean(row, column, self.layout.main) + self._arrow(row, column)
        bracketed = self._mean(row, column, self.layout.bracketed)
        return " ".join(part for part in (main, bracketed and f"({bracketed})") if part)

    def _arrow(self, row: Key, column: Key) -> str:
        """`↑` or `↓`, where every seed is told from the row before and on the same side; or ``."""
        former = self.layout.before(row)
        own = self._values.get((row, column, self.layout.main), {})
        others = {} if former is None else self._values.get((former, column, self.layout.main), {})
        sides = {
            _side(others.get(seed, others.get("")), score) for seed, score in own.items() if others
        }
        return sides.pop() if len(sides) == 1 else ""

    def _mean(self, row: Key, column: Key, output: str) -> str:
        scores = self.scores(row, column, output)
        if not scores:
            return ""
        mean, deviation = mean_and_deviation([score.value for score in scores])
        places = self.layout.decimals
        text = f"{mean:.{places}f}"
        return text if len(scores) == 1 else f"{text} ± {deviation:.{places}f}"


def _side(before: Score | None, after: Score) -> str:
    """`↑`, `↓`, or nothing where the two cannot be told apart."""
    if before is None or before.metrics is None or after.metrics is None:
        return ""
    pair = compare_paired(*aligned_outcomes(before.metrics, after.metrics))
    if pair.p_value >= _LEVEL:
        return ""
    return "↑" if pair.difference > 0 else "↓"


def label_of(labels: Mapping[str, str], key: str, source: str) -> str:
    """A label's value.

    Raises:
        InputError: it is missing; `source` is the file that lacks it.
    """
    if key not in labels:
        raise InputError(f"{source}: has no label {key}; evaluate it with --label {key}=...")
    return labels[key]


def put_once(by_seed: dict[str, Any], seed: str, entry: Any) -> None:
    """Put an entry, which has a `source`, in the place of its seed.

    Raises:
        InputError: the place is taken.
    """
    if seed in by_seed:
        raise InputError(
            f"{by_seed[seed].source} and {entry.source} have the same labels: name each file "
            "once, and give each seed its own --label seed=..."
        )
    by_seed[seed] = entry


def encode_csv(table: Table) -> bytes:
    """The table as CSV in UTF-8."""
    import pandas as pd

    frame = pd.DataFrame(table.rows, columns=table.header)
    return frame.to_csv(index=False, lineterminator="\n").encode()


def read_long_form(
    path: Path | str, needed: Mapping[str, type], what: str, sep: str = ","
) -> DataFrame:
    """A CSV file in UTF-8; what is left empty in it is an empty text.

    Args:
        path: the file.
        needed: columns that it has to have, and their types; all others hold text.
        what: the file is, for messages.
        sep: between columns.

    Raises:
        InputError: not such a file, or it has no line.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, sep=sep, dtype=str, keep_default_na=False, encoding="utf-8")
        if not isinstance(frame.index, pd.RangeIndex):  # pandas took what came first for names
            raise ValueError("lines are longer than the header")
        frame = frame.astype(dict(needed))
    except (KeyError, ValueError) as error:  # as pandas' own errors are
        columns = ", ".join(f"`{name}`" for name in needed)
        raise InputError(
            f"{path}: not {what}: a line lacks {columns}, has no number there, or more than the"
            " header names"
        ) from error
    if frame.empty:
        raise InputError(f"{path}: not {what}: it has no line")
    return frame


def encode_markdown(table: Table) -> bytes:
    """The table as a Markdown pipe table, its columns aligned in the source, and its caption."""
    widths = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_pipe(cells, widths) for cells in (table.header, rule, *table.rows)]
    return ("\n".join([*lines, "", table.caption]) + "\n").encode()


def write_table(path: Path, table: Table) -> None:
    """Write a table as CSV to `path`, and before it as .md beside it."""
    write_bytes(path.with_suffix(".md"), encode_markdown(table))
    write_bytes(path, encode_csv(table))


def _pipe(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line: the first column flush left, the others flush right."""
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    padded[0] = cells[0].ljust(widths[0])
    return f"| {' | '.join(padded)} |"
