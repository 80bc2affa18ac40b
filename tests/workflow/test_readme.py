"""What README copies is what the tests wrote."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_faults_is_the_one_that_the_tests_made():
    table = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    assert f"<!-- docs/faults.md -->\n\n{table}\n" in (ROOT / "README.md").read_text("utf-8")
