"""Snakemake that submits to a SLURM, and what its jobs are held by; for test_slurm.py."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from workflow_copies import ROOT, Repository, environment

CLUSTER = ROOT / "tests/cluster"
HUNG = 1800  # seconds
# There is no accounting here, and jobs of seconds are not to be waited for longer than they take.
LOOPBACK = (
    "--workflow-profile",
    "workflow/profiles/slurm",
    "--slurm-no-account",
    "--slurm-status-command",
    "squeue",
    "--slurm-init-seconds-before-status-checks",
    "1",
)


class Submitted:
    """Snakemake at work in a copy of the repository, submitting to SLURM.

    Attributes:
        all: every one that has been started, so that none outlives the tests.
    """

    all: ClassVar[list[Submitted]] = []

    def __init__(self, repository: Repository, target: str, *more: str) -> None:
        self.root = repository.root
        self._log = self.root / "submitted.log"
        script = str(CLUSTER / "attentive_snakemake.py")
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, script, target, *more, *LOOPBACK],
                cwd=self.root,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=holding(),
                start_new_session=True,
            )
        self.all.append(self)

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def finish(self) -> str:
        """Wait for the end of a run that succeeds; all that it has printed."""
        assert self.process.wait(timeout=HUNG) == 0, self.output[-4000:]
        return self.output

    def reaches(self, held: Path) -> None:
        """Wait until something waits there that is held."""
        self.awaits(held.with_suffix(".reached").exists, held.name)

    def tries_again(self) -> None:
        """Wait until Snakemake has seen that a job failed."""
        self.awaits(lambda: "Trying to restart job" in self.output, "a job tried again")

    def asks(self, times: int) -> None:
        """Wait until so many calls of squeue have begun from now on and ended."""
        before = self._calls()
        self.awaits(lambda: self._calls() > before + times, "squeue's next calls")

    def _calls(self) -> int:
        calls = self.root / "held/squeue.calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0

    def job(self) -> str:
        """The number of the job that SLURM is running for this run."""
        (job,) = self.jobs("RUNNING")
        return job

    def jobs(self, *states: str) -> list[str]:
        """The numbers of this run's jobs that are in one of these states."""
        listed = (line.split("|") for line in squeue("%i|%T|%Z").splitlines())
        return [
            job for job, state, folder in listed if folder == str(self.root) and state in states
        ]

    def awaits(self, look: Callable[[], bool], what: str) -> None:
        """Wait until `look` finds what it looks for, while the run is at work."""

        def look_at_work() -> bool:
            found = look()
            assert found or self.process.poll() is None, self.output[-4000:]
            return found

        wait_until(look_at_work, what)


def wait_until(look: Callable[[], bool], what: str) -> None:
    """Wait until `look` finds what it looks for; `what` tells of what has not come."""
    deadline = time.monotonic() + HUNG
    while not look():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.1)


def squeue(columns: str) -> str:
    """Jobs of all states, also those that have ended."""
    command = ["squeue", "--noheader", "--states=all", "--sort=i", f"--format={columns}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def hold(root: Path, name: str) -> Path:
    """Have a stage, or squeue, wait until the file that is returned is removed."""
    held = root / "held" / name
    held.parent.mkdir(exist_ok=True)
    held.touch()
    return held


def holding() -> dict[str, str]:
    """The environment in which they can be held."""
    found, folder = environment(), str(CLUSTER / "held")
    return found | {"PYTHONPATH": folder, "PATH": os.pathsep.join((folder, found["PATH"]))}
