"""The tables that tabulate_metrics.py makes, by name: results/{table}.csv."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..command_line import options
from ..given_files import optional_file
from ..sections import Config
from . import datasets, discovery_tables, phrase_tables

# Which metrics each is made from.
_METRICS: Mapping[str, Callable[[Config], list[str]]] = {
    "table1": phrase_tables.table1,
    "table2": phrase_tables.table2,
    "table3": phrase_tables.table3,
    "table4": discovery_tables.table4,
    "table5": phrase_tables.table5,
    "table6": discovery_tables.table6,
    "average_precision": discovery_tables.average_precision,
    "masks": discovery_tables.masks,
    "study": discovery_tables.study,
    "grounding_study": phrase_tables.study,
}
NAMES = tuple(_METRICS)
# What the stage calls them, where that is not the number of a table or the name itself.
_LAYOUTS = {"study": "gains", "grounding_study": "phrase_gains"}


def metrics(config: Config, table: str) -> list[str]:
    """The files of metrics that a table is made from."""
    return _METRICS[table](config)


def layout(table: str) -> str:
    """The layout of a table, as the stage calls it."""
    return _LAYOUTS.get(table, table.removeprefix("table"))


def published_file(config: Config, table: str) -> str | list[str]:
    """The paper's figures for a table, or nothing."""
    return optional_file(config["tables"].get(table, {}).get("published"))


def row_options(config: Config, table: str) -> str:
    """The options for names of rows, which table 6 has."""
    named = table == "table6"
    return options({"ablations": discovery_tables.names_of_ablations(config)}) if named else ""


def compared(config: Config) -> dict[str, list[str]]:
    """For each table that is compared with the paper's: its published file, and metrics.

    Metrics are those of the datasets that it reports, whole: no hours for what has nothing to be
    compared with.

    Raises:
        SystemExit: no table has a published file.
    """
    files: dict[str, list[str]] = {}
    for table in config["compare_published"]["tables"]:
        published = published_file(config, table)
        if published:
            reported = _reported(published)
            own = [path for path in metrics(config, table) if _is_of(config, path, reported)]
            files[table] = [published, *own]
    if not files:
        sys.exit(
            "results/compare_published.csv: no table of compare_published.tables has a file of the"
            " paper's figures; name one in tables.tableN.published"
        )
    return files


def _reported(published: str) -> set[str | None]:
    """The datasets of a table of the paper's; none where it cannot be read, as the stage says."""
    try:
        with open(published, encoding="utf-8-sig", newline="") as lines:
            return {row.get("test", row.get("dataset")) for row in csv.DictReader(lines)}
    except (OSError, ValueError):
        return set()


def _is_of(config: Config, path: str, reported: set[str | None]) -> bool:
    dataset = path.split("/")[1]
    whole = config["datasets"][dataset].get("limit") is None
    return whole and datasets.label(config, dataset) in reported


def compared_options(config: Config, files: Mapping[str, Any]) -> str:
    """The tables of a comparison, as the stage is told of their files."""
    named = ((table, files[table]) for table in compared(config))
    return " ".join(options({"table": [layout(table), *own]}) for table, own in named)


def comparison_options(config: Config) -> str:
    """What counts as the same, and the rows of table 6 where that is compared."""
    told = [options({"tolerance": config["compare_published"]["tolerance"]})]
    told += [row_options(config, table) for table in compared(config)]
    return " ".join(filter(None, told))
