"""The tables that tabulate_metrics.py makes, by name: results/{table}.csv."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..command_line import options
from ..given_files import optional_file
from ..sections import Config
from . import discovery_tables, phrase_tables

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
