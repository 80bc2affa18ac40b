"""What tests of people's inputs share: the table of situations, before and now.

    python -m pytest tests/inputs -m "slow or not slow" --input-table docs/inputs.md

writes that table, which docs/reliability.md shows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that writes the table."""
    parser.addoption("--input-table", type=Path, help="write situation, before, now to this file")


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> dict[str, tuple[str, str]]:
    """The table; written once all tests have ended, if none has failed."""
    found: dict[str, tuple[str, str]] = {}
    yield found
    path = request.config.getoption("--input-table", default=None)
    if path is not None and not request.session.testsfailed:
        lines = ["| situation | before | now |", "| --- | --- | --- |"]
        lines += [f"| {name} | {before} | {now} |" for name, (before, now) in sorted(found.items())]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def note(rows: dict[str, tuple[str, str]]) -> Callable[[str, str, str], None]:
    """Note a situation, what came of it before, and what the test has just seen come of it."""

    def add(situation: str, before: str, now: str) -> None:
        assert situation not in rows
        rows[situation] = (before, now.replace("|", "\\|"))

    return add
