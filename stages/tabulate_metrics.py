"""Make a table from metrics: one of the paper's, or the gains of refinement seed by seed.

Labels given to evaluate.py and compare_metrics.py place each number. A table of the paper shows
its published values beside the measured ones where the dataset is the paper's. `--table gains`
takes comparisons of f with f^h, and metrics of h (label output=h) if there are any. A Markdown
twin is written beside the CSV file.
"""

from __future__ import annotations

import csv
import sys
from functools import partial
from pathlib import Path

from bbr import cli
from bbr.errors import InputError
from bbr.files import write_bytes
from bbr.metric_files import is_comparison, read_comparison, read_metrics
from bbr.tables import (
    LAYOUTS,
    Gain,
    Layout,
    Score,
    Table,
    encode_csv,
    encode_markdown,
    gains_table,
    paper_table,
)


def run(*, table: str, metrics: list[Path], published: Path | None, output: Path) -> None:
    """Write table `table` to `output` (.csv) and its Markdown twin.

    Raises:
        InputError: a file is not what it should be, or its labels do not place it in the table.
    """
    if output.suffix != ".csv":
        raise InputError(
            f"{output}: a table's name ends in .csv; its .md twin is written beside it"
        )
    made = TABLES[table](metrics, published)
    write_bytes(output.with_suffix(".md"), encode_markdown(made))
    write_bytes(output, encode_csv(made))


def _paper_table(layout: Layout, metrics: list[Path], published: Path | None) -> Table:
    theirs = [] if published is None else _read_published(published)
    return paper_table(layout, map(_read_score, metrics), theirs)


def _gains_table(metrics: list[Path], published: Path | None) -> Table:
    if published is not None:
        raise InputError("--published: the paper has no table of gains; leave it out")
    comparisons = [path for path in metrics if is_comparison(path)]
    detectors = [_read_score(path) for path in metrics if path not in comparisons]
    return gains_table(map(_read_gain, comparisons), detectors)


TABLES = {
    **{name: partial(_paper_table, layout) for name, layout in LAYOUTS.items()},
    "gains": _gains_table,
}


def _read_score(path: Path) -> Score:
    content = read_metrics(path)
    labels = {**content["labels"], "metric": content["task"]}
    return Score(labels, content["score"], str(path))


def _read_gain(path: Path) -> Gain:
    content = read_comparison(path)
    return Gain(
        labels=content["labels"],
        baseline=content["baseline"]["score"],
        candidate=content["candidate"]["score"],
        difference=content["difference"],
        p_value=content["p_value"],
        source=str(path),
    )


def _read_published(path: Path) -> list[Score]:
    """The paper's numbers in long form: one label per column, and the column `value`."""
    with open(cli.existing_file(path, "--published"), encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    try:
        return [Score(row, float(row.pop("value")), str(path)) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: each line needs a number in its column `value`") from error


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--table", choices=TABLES, required=True)
    parser.add_argument("--metrics", type=Path, nargs="+", required=True,
                        help="metrics.json or, for gains, comparison.json files")  # fmt: skip
    parser.add_argument("--published", type=Path, help="the paper's values, in long form [none]")
    parser.add_argument("--output", type=Path, required=True, help="table.csv")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
