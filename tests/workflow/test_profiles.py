"""The profiles of clusters, as far as they can be tried without one; test_slurm.py has one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from workflow_copies import TINY, TINY_FILE, Repository, environment

# PBS's command, as it is called: notes its options, runs the script, prints a job's number.
QSUB = """#!/bin/sh
printf '%s\\n' "$*" >> "$QSUB_LOG"
for script; do :; done
sh "$script" > /dev/null 2>&1 &
echo 17.server
"""


@pytest.mark.parametrize("profile", ["slurm", "cluster-generic"])
def test_the_same_jobs_are_planned(pristine: Repository, profile: str) -> None:
    submitted = ("--workflow-profile", f"workflow/profiles/{profile}")
    assert pristine.planned("results/table4.csv", *TINY, *submitted) == pristine.planned(
        "results/table4.csv", *TINY
    )


def test_another_scheduler_gets_what_the_rules_ask_for(
    repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "qsub").write_text(QSUB)
    (tmp_path / "qsub").chmod(0o755)
    found = environment()
    found |= {
        "PATH": os.pathsep.join((str(tmp_path), found["PATH"])),
        "QSUB_LOG": str(tmp_path / "log"),
    }
    command = repository.command(
        *("results/tiny/index.json", "--configfile", TINY_FILE),
        *("--workflow-profile", "workflow/profiles/cluster-generic"),
        *("--seconds-between-status-checks", "1"),
    )
    done = subprocess.run(
        command, cwd=repository.root, env=found, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (repository.root / "results/tiny/index.json").is_file()
    options = (tmp_path / "log").read_text()
    assert "-N render_scenes -l select=1:ncpus=1:mem=1000mb:ngpus=0 -l walltime=60:00" in options
