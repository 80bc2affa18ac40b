"""Tables by name."""

from __future__ import annotations

from small_configuration import small_configuration
from support.plans import discovery_tables, metric_tables, phrase_tables

CONFIG = small_configuration()


def test_each_name_has_its_files_and_its_layout() -> None:
    assert metric_tables.metrics(CONFIG, "table6") == discovery_tables.table6(CONFIG)
    assert metric_tables.metrics(CONFIG, "grounding_study") == phrase_tables.study(CONFIG)
    layouts = [metric_tables.layout(name) for name in metric_tables.NAMES]
    assert layouts == [
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "average_precision",
        "masks",
        "gains",
        "phrase_gains",
    ]


def test_what_only_some_tables_have() -> None:
    names = ("table1", "table2", "study")
    assert [metric_tables.published_file(CONFIG, name) for name in names] == ["p1.csv", [], []]
    assert metric_tables.row_options(CONFIG, "table4") == ""
    assert metric_tables.row_options(CONFIG, "table6") == (
        "--ablations 'no_reg=w/o reg.' default=k=10"
    )
