"""Copies of the repository, without results or with everything made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from workflow_copies import ROOT, TINY, TINY_TARGETS, Repository


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A copy without results, in which something has been planned; tests must not change it."""
    root = tmp_path_factory.mktemp("pristine")
    for name in ("stages", "workflow", "envs"):
        # Another worker may be writing there, under such names.
        unfinished = shutil.ignore_patterns("*.pyc.*")
        shutil.copytree(ROOT / name, root / name, ignore=unfinished)
    shutil.copy2(ROOT / "config.yaml", root)
    made = Repository(root)
    # What it notes of the code, and Python of the modules, is then there for all that is planned.
    made.planned("results/tiny/index.json", *TINY)
    return made


@pytest.fixture
def repository(pristine: Repository, tmp_path: Path) -> Repository:
    """A copy without results, for one test to change."""
    return pristine.copy(tmp_path / "repository")


@pytest.fixture(scope="session")
def finished(pristine: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A copy in which everything of the test configuration was really made, once a session."""
    made = pristine.copy(tmp_path_factory.mktemp("finished"))
    made.snakemake(*TINY_TARGETS, "--cores", "2", *TINY)
    return made
