"""What tests of faults share: unbroken runs to compare with, and the table of what was survived.

    python -m pytest tests/faults -m "slow or not slow" --fault-table docs/faults.md

writes that table, which docs/reliability.md shows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from stage_runs import STAGES, Runs

# Of each kind of stage one, for every change; the others are for `-m slow`.
QUICK = ("render_scenes", "extract_features", "merge_boxes", "train_detector", "evaluate")
OUTCOMES = ("refused in one line", "left out by name", "same result")


class FaultTable:
    """How often which fault had which of `OUTCOMES`, and on how many stages it was tried."""

    def __init__(self) -> None:
        self._outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._stages: defaultdict[str, set[str]] = defaultdict(set)

    def note(self, fault: str, stage: str, outcome: str) -> None:
        """One try, once the test has seen that its outcome is good."""
        assert outcome in OUTCOMES
        self._outcomes[fault][outcome] += 1
        self._stages[fault].add(stage)

    def markdown(self) -> str:
        """The table, one fault a row, in alphabetical order."""
        lines = [
            f"| fault | stages | tries | {' | '.join(OUTCOMES)} |",
            f"| --- | {' | '.join(['--:'] * (2 + len(OUTCOMES)))} |",
        ]
        for fault, outcomes in sorted(self._outcomes.items()):
            counts = [len(self._stages[fault]), outcomes.total(), *(outcomes[o] for o in OUTCOMES)]
            lines.append(f"| {fault} | {' | '.join(map(str, counts))} |")
        return "\n".join(lines) + "\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that writes the table."""
    parser.addoption("--fault-table", type=Path, help="write what was survived to this file")


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> FaultTable:
    """Where tests note what was survived; written once all have ended, if none has failed."""
    found = FaultTable()
    yield found
    path = request.config.getoption("--fault-table", default=None)
    if path is not None and not request.session.testsfailed:
        path.write_text(found.markdown(), encoding="utf-8")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Unbroken runs of all stages, made as they are needed."""
    return Runs(tmp_path_factory.mktemp("runs"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test of a `stage` all of them; those not in `QUICK` are slow."""
    if "stage" in metafunc.fixturenames:
        stages = [
            pytest.param(stage, marks=() if stage in QUICK else pytest.mark.slow)
            for stage in STAGES
        ]
        metafunc.parametrize("stage", stages)
