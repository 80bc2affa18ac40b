"""Compare scores with the paper's, cell by cell: the difference, and whether it is small.

A cell is compared where the paper has a number for it and a metrics file has the same labels:
dataset, method, training set and so on; all others are left out, and where none is compared the
file has its header alone. Tables 1 to 6 are those that can be. A Markdown twin is written beside
the CSV file.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.errors import InputError
from bbr.options import option
from bbr.reporting.paper_tables import LAYOUTS
from bbr.reporting.published_cells import ComparedTable, compare_cells, comparison_table, summary
from bbr.reporting.scores import read_published, read_scores
from bbr.reporting.tables import write_table
from bbr.storage.atomic import require_ending

log = logging.getLogger("bbr")
NUMBERS = tuple(name for name in sorted(LAYOUTS) if name.isdigit())


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    table: tuple[tuple[str, ...], ...] = option(
        help="the number of a table, the paper's values of it in long form, and metrics.json"
        " files; once for each table",
        metavar="VALUE",
        repeats=True,
    )
    output: Path = option(help="compare_published.csv")


@dataclass(frozen=True)
class Comparison:
    """What counts as the same."""

    tolerance: float = option(0.5, "of a difference that is small", unit="points", min=0)
    ablations: tuple[str, ...] | None = option(
        None, "rows of table 6, in their order", metavar="VARIANT=NAME"
    )


def run(*, files: Files, comparison: Comparison) -> None:
    """Write the comparison to `output` (.csv) and its Markdown twin.

    Raises:
        InputError: a file is not what it should be, or its labels do not place it in the table.
    """
    require_ending(files.output, ".csv", "a table")
    numbers = [number for number, *_ in files.table]
    if ("6" in numbers) != (comparison.ablations is not None):
        raise InputError("--ablations: names the rows of --table 6, and of no other table")
    if len(set(numbers)) < len(numbers):
        raise InputError("--table: a number is given twice; name all files of a table at once")
    tables = [_compared(*words, ablations=comparison.ablations) for words in files.table]
    made = comparison_table(tables, comparison.tolerance)
    if made.rows:
        print(summary(tables, comparison.tolerance))
    else:
        log.warning(
            "nothing is compared: no metrics have the labels of a published number (the datasets"
            " of paper.yaml have)"
        )
    write_table(files.output, made)


def _compared(number: str, *paths: str, ablations: tuple[str, ...] | None) -> ComparedTable:
    if number not in NUMBERS or not paths:
        raise InputError(
            f"--table {number}: begins with one of {', '.join(NUMBERS)}, and the paper's values"
        )
    published, *metrics = map(Path, paths)
    layout = LAYOUTS[number]
    theirs = read_published(cli.existing_file(published, "--table"))
    ours = read_scores(metrics, layout, ablations if number == "6" else None)
    return compare_cells(number, layout, ours, theirs)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
