"""Tasks: what they may score, and what is recorded of their rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from bbr.errors import InputError
from bbr.evaluation.tasks import TASKS, Task, require_matches, require_one_source

FILE = Path("x")


@pytest.mark.parametrize("task", TASKS)
def test_each_task_scores_one_of_its_sources(task: str) -> None:
    for source in TASKS[task]:
        require_one_source(task, **{source: FILE}, other=None)
    for given in ({}, {"boxes": FILE, "heatmaps": FILE}, {"detector": FILE}):
        with pytest.raises(InputError, match=f"--task {task} needs --{TASKS[task][0]}"):
            require_one_source(task, **given)


def test_captions_are_matched_for_wwbl_alone() -> None:
    require_matches("wwbl", FILE)
    require_matches("corloc", None)
    for task, matches in (("wwbl", None), ("pointing_game", FILE)):
        with pytest.raises(InputError, match="--task wwbl needs --matches FILE"):
            require_matches(task, matches)


def test_rules_are_recorded_where_they_are_not_the_usual() -> None:
    assert Task("bbox_accuracy").recorded() == {"min_area": 0.05, "control": None}
    other = Task("pointing_game", "random", 0.1, "first_box", "union", seed=3)
    assert other.recorded() == {
        "min_area": 0.1,
        "control": "random",
        "seed": 3,
        "counted": "first_box",
        "targets": "union",
    }
