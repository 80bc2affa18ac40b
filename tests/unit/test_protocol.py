"""The table of components in docs/protocol.md: each of its rows names a test that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("### Component by component")[2].partition("\n## ")[0]
ROWS = [line for line in TABLE.splitlines() if line.startswith("| ")][2:]


def test_there_are_rows() -> None:
    assert len(ROWS) > 45


@pytest.mark.parametrize("row", ROWS)
def test_each_row_names_a_test(row: str) -> None:
    *_, last = (cell.strip() for cell in row.strip("| ").split("|"))
    named = re.fullmatch(r"`(tests/[\w/]+\.py)((?:::\w+)+)`", last)
    assert named, f"no test: {row}"
    scope: list[ast.stmt] = ast.parse((ROOT / named[1]).read_text(encoding="utf-8")).body
    for name in named[2].split("::")[1:]:
        found = [
            n for n in scope if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == name
        ]
        assert found, f"{named[1]} has no {name}"
        scope = found[0].body
