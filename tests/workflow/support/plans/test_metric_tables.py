"""Tables by name."""

from __future__ import annotations

from pathlib import Path

import pytest
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


@pytest.fixture
def reported(tmp_path: Path) -> str:
    """A published table of a dataset that is called A."""
    path = tmp_path / "published.csv"
    path.write_text("method,dataset,value\nLOST,A,1\nLOST,VOC07,2\n")
    return str(path)


def test_metrics_of_the_datasets_that_the_paper_reports_are_compared(reported: str) -> None:
    """Of A and B, both in Table 4; Table 6 has no published file, and Table 1's is not there."""
    config = small_configuration()
    config["tables"]["table4"] |= {"datasets": ["a", "b"], "published": reported}
    table4 = metric_tables.metrics(config, "table4")
    own = [path for path in table4 if path.startswith("results/a/")]
    assert len(own) == len(table4) / 2
    assert metric_tables.compared(config) == {"table1": ["p1.csv"], "table4": [reported, *own]}
    assert metric_tables.comparison_options(config) == "--tolerance 0.5"
    told = metric_tables.compared_options(config, metric_tables.compared(config))
    assert told == f"--table 1 p1.csv --table 4 {reported} {' '.join(own)}"


def test_a_part_of_a_dataset_is_not_the_paper_s(reported: str) -> None:
    config = small_configuration()
    config["tables"]["table4"]["published"] = reported
    for limit, compared in ((None, True), (9, False)):
        config["datasets"]["a"]["limit"] = limit
        assert (len(metric_tables.compared(config)["table4"]) > 1) is compared


def test_rows_of_table_6_are_named_where_it_is_compared(reported: str) -> None:
    config = small_configuration()
    config["tables"]["table6"]["published"] = reported
    assert set(metric_tables.compared(config)) == {"table1", "table6"}
    assert metric_tables.comparison_options(config) == (
        "--tolerance 0.5 --ablations 'no_reg=w/o reg.' default=k=10"
    )


def test_nothing_published_is_told_in_one_line() -> None:
    config = small_configuration()
    config["compare_published"]["tables"] = ["table4"]
    with pytest.raises(SystemExit, match=r"no table of compare_published\.tables has a file"):
        metric_tables.compared(config)
