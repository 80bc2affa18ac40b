"""Make a table from metrics: one of the paper's, or the gains of refinement seed by seed.

Labels given to evaluate.py and compare_metrics.py place each number. A table of the paper shows
its published values beside the measured ones where the dataset is the paper's. `--table gains`
takes comparisons of f with f^h, and metrics of h (label output=h) if there are any; `--table
phrase_gains` likewise of g with g^h. Table 6 has a row for each variant named in --ablations. A
Markdown twin is written beside the CSV file.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.errors import InputError
from bbr.options import option
from bbr.reporting.gains import GAIN_LAYOUTS, Gain, gains_table
from bbr.reporting.paper_tables import LAYOUTS, NOT_REFINED
from bbr.reporting.tables import (
    Score,
    Table,
    encode_csv,
    encode_markdown,
    paper_table,
    read_published,
)
from bbr.storage.atomic import write_bytes
from bbr.storage.metrics_json import is_comparison, read_comparison, read_metrics

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
    if files.output.suffix != ".csv":
        raise InputError(
            f"{files.output}: a table's name ends in .csv; its .md twin is written beside it"
        )
    if (layout.table == "6") != (layout.ablations is not None):
        raise InputError("--ablations: names the rows of --table 6, and of no other table")
    if layout.table in GAIN_LAYOUTS:
        made = _gains_table(layout.table, files.metrics, files.published)
    else:
        made = _paper_table(layout.table, files.metrics, files.published, layout.ablations)
    write_bytes(files.output.with_suffix(".md"), encode_markdown(made))
    write_bytes(files.output, encode_csv(made))


def _paper_table(
    table: str, metrics: list[Path], published: Path | None, ablations: list[str] | None
) -> Table:
    theirs = (
        [] if published is None else read_published(cli.existing_file(published, "--published"))
    )
    ours = list(map(_read_score, metrics))
    if ablations is not None:
        ours = list(_ablation_scores(ours, _names_of_variants(ablations)))
    return paper_table(LAYOUTS[table], ours, theirs)


def _names_of_variants(pairs: list[str]) -> dict[str, list[str]]:
    """`variant=name` texts as the names of each variant; those trained alike are one."""
    names: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        variant, equals, name = pair.partition("=")
        if not variant or not equals or not name:
            raise InputError(f"--ablations {pair}: not of the form variant=name")
        names[variant].append(name)
    return names


def _ablation_scores(scores: list[Score], names: dict[str, list[str]]) -> Iterator[Score]:
    """The scores with the label `ablation`, in the order of the rows; those of f come last."""
    for variant, rows in names.items():
        for score in scores:
            if score.labels.get("variant") == variant:
                for row in rows:
                    yield replace(score, labels={**score.labels, "ablation": row})
    for score in scores:
        variant = score.labels.get("variant")
        if variant is None:
            yield replace(score, labels={**score.labels, "ablation": NOT_REFINED})
        elif variant not in names:
            raise InputError(f"{score.source}: variant {variant} is not named in --ablations")


def _gains_table(table: str, metrics: list[Path], published: Path | None) -> Table:
    if published is not None:
        raise InputError("--published: the paper has no table of gains; leave it out")
    comparisons = [path for path in metrics if is_comparison(path)]
    detectors = [_read_score(path) for path in metrics if path not in comparisons]
    return gains_table(GAIN_LAYOUTS[table], map(_read_gain, comparisons), detectors)


def _read_score(path: Path) -> Score:
    content = read_metrics(path)
    labels = {**content["labels"], "metric": content.get("metric", content["task"])}
    return Score(labels, content["score"], str(path), content)


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
