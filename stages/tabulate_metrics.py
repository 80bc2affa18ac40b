"""Make a table from metrics: one of the paper's, or the gains of refinement seed by seed.

Labels given to evaluate.py and compare_metrics.py place each number. A table of the paper shows
its published values beside the measured ones where the dataset is the paper's. `--table gains`
takes comparisons of f with f^h, and metrics of h (label output=h) if there are any; `--table
phrase_gains` likewise of g with g^h. Table 6 has a row for each variant named in --ablations. A
Markdown twin is written beside the CSV file.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.errors import InputError
from bbr.options import option
from bbr.reporting.gains import GAIN_LAYOUTS, Gain, gains_table
from bbr.reporting.paper_tables import LAYOUTS
from bbr.reporting.scores import read_published, read_scores
from bbr.reporting.tables import Table, paper_table, write_table
from bbr.storage.atomic import require_ending
from bbr.storage.metrics_json import is_comparison, read_comparison

TABLES = (*LAYOUTS, *GAIN_LAYOUTS)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    metrics: tuple[Path, ...] = option(help="metrics.json or, for gains, comparison.json files")
    output: Path = option(help="table.csv")
    published: Path | None = option(None, "the paper's values, in long form [none]")


@dataclass(frozen=True)
class Layout:
    """Which table."""

    table: str = option(help="its number, or gains", choices=TABLES)
    ablations: tuple[str, ...] | None = option(
        None, "rows of table 6, in their order", metavar="VARIANT=NAME"
    )


def run(*, files: Files, layout: Layout) -> None:
    """Write table `table` to `output` (.csv) and its Markdown twin.

    Raises:
        InputError: a file is not what it should be, or its labels do not place it in the table.
    """
    require_ending(files.output, ".csv", "a table")
    if (layout.table == "6") != (layout.ablations is not None):
        raise InputError("--ablations: names the rows of --table 6, and of no other table")
    if layout.table in GAIN_LAYOUTS:
        made = _gains_table(layout.table, files.metrics, files.published)
    else:
        made = _paper_table(layout.table, files.metrics, files.published, layout.ablations)
    write_table(files.output, made)


def _paper_table(
    table: str, metrics: list[Path], published: Path | None, ablations: list[str] | None
) -> Table:
    theirs = (
        [] if published is None else read_published(cli.existing_file(published, "--published"))
    )
    return paper_table(LAYOUTS[table], read_scores(metrics, LAYOUTS[table], ablations), theirs)


def _gains_table(table: str, metrics: list[Path], published: Path | None) -> Table:
    if published is not None:
        raise InputError("--published: the paper has no table of gains; leave it out")
    comparisons = [path for path in metrics if is_comparison(path)]
    others = [path for path in metrics if path not in comparisons]
    layout = GAIN_LAYOUTS[table]
    return gains_table(layout, map(_read_gain, comparisons), read_scores(others))


def _read_gain(path: Path) -> Gain:
    content = read_comparison(path)
    return Gain(
        labels={**content["labels"], "metric": content["task"]},
        baseline=content["baseline"]["score"],
        candidate=content["candidate"]["score"],
        difference=content["difference"],
        p_value=content["p_value"],
        source=str(path),
    )


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
