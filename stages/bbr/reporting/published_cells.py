"""How far scores are from the paper's, cell by cell, where both are of the same thing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..evaluation.statistics import mean_and_deviation
from .paper_tables import Layout
from .tables import Cells, Score, Table, spread

_HEADER = ["table", "row", "column", "output", "published", "ours", "deviation", "seeds"]


@dataclass(frozen=True)
class Cell:
    """A number of the paper's and what was measured in its place.

    Attributes:
        output: the label by which a number in brackets is told from the one before it.
        published, ours: in percent; `ours` has a number for each seed.
    """

    row: str
    column: str
    output: str
    published: float
    ours: tuple[float, ...]

    @property
    def difference(self) -> float:
        """The mean of ours less the paper's, in points, to the two places that are shown."""
        return round(mean_and_deviation(self.ours)[0] - self.published, 2)


@dataclass(frozen=True)
class ComparedTable:
    """One table of the paper's: its number, the cells compared, and how many it publishes."""

    number: str
    cells: list[Cell]
    reported: int

    def within(self, tolerance: float) -> int:
        """How many cells differ by that many points or less."""
        return sum(abs(cell.difference) <= tolerance for cell in self.cells)


def compare_cells(
    number: str, layout: Layout, measured: Iterable[Score], published: Iterable[Score]
) -> ComparedTable:
    """The published numbers that scores stand beside in a table of this layout.

    A score is of the same thing where it has the row, the column and the place, before brackets or
    in them, of a published number, and every other label that both have is the same. Datasets go by
    their labels. What was measured on images held out from refinement is not compared.

    Raises:
        InputError: as `tables.paper_table`.
    """
    published = list(published)
    measured = [score for score in measured if score.labels.get("images") != "held-out"]
    if layout.shared:
        measured = spread(measured, layout.shared, published)
    ours, theirs = Cells(layout, measured), Cells(layout, published)
    cells = []
    for row, column, output in theirs.places:
        reported = theirs.scores(row, column, output)[0]
        found = [s.value for s in ours.scores(row, column, output) if _agree(s, reported)]
        if found:
            names = layout.name_row(row), " ".join(column), output
            cells.append(Cell(*names, reported.value, tuple(found)))
    return ComparedTable(number, cells, len(published))


def _agree(ours: Score, theirs: Score) -> bool:
    return all(ours.labels.get(key, value) == value for key, value in theirs.labels.items())


def comparison_table(tables: Iterable[ComparedTable], tolerance: float) -> Table:
    """Every compared cell in long form, in the order of the tables and of the paper.

    Args:
        tolerance: points; a cell is `within` it if it differs by that much or less.
    """
    tables = list(tables)
    rows = [
        [table.number, *_line(cell), "yes" if abs(cell.difference) <= tolerance else "no"]
        for table in tables
        for cell in table.cells
    ]
    caption = (
        "The paper's figures and ours in percent, and the difference in points, wherever both have"
        f" one; within: by {tolerance:g} points or less. Output h is the number in brackets."
        f" Several seeds: their mean, and standard deviation. {summary(tables, tolerance)}."
    )
    return Table([*_HEADER, "difference", f"within {tolerance:g}"], rows, caption)


def summary(tables: Iterable[ComparedTable], tolerance: float) -> str:
    """`table 4: 66 of 75 published cells compared, 60 within 0.5 points`, and so on."""
    return "; ".join(
        f"table {table.number}: {len(table.cells)} of {table.reported} published cells compared,"
        f" {table.within(tolerance)} within {tolerance:g} points"
        for table in tables
    )


def _line(cell: Cell) -> list[str]:
    mean, deviation = mean_and_deviation(cell.ours)
    seeds = len(cell.ours)
    return [
        cell.row,
        cell.column,
        cell.output,
        f"{cell.published:.2f}",
        f"{mean:.2f}",
        "" if seeds == 1 else f"{deviation:.2f}",
        str(seeds),
        f"{cell.difference:+.2f}",
    ]
