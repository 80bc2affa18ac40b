"""Jobs submitted to a real SLURM, one node on this machine: what it does to them, and what we do.

Started by tests/cluster/slurm.sh. The scenarios run side by side, each in a copy of the repository
of its own, with the profile as it ships but for `LOOPBACK`; each test looks at what one has left.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
from conftest import ROOT, TINY_FILE, Repository, environment

pytestmark = pytest.mark.cluster

SLURM = ROOT / "tests/cluster/slurm.sh"
# There is no accounting here, and jobs of seconds are not to be waited for longer than they take.
LOOPBACK = (
    "--workflow-profile", "workflow/profiles/slurm", "--slurm-no-account",
    "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1",
)  # fmt: skip
# Table 4's rows of LOST alone.
LOST_ROWS = {
    "tables": {
        "table4": {
            "baselines": {"dino_seg": None},
            "controls": [],
            "random_backbone": None,
            "cad": False,
        }
    }
}
# One job of a few seconds, which does not import torch.
RENDER = {"datasets": {"tiny": {"count": 400}}}
RENDERED = "results/tiny/index.json"
RENDER_LOG = "results/logs/tiny/render_scenes.log"


@dataclass(frozen=True)
class Cluster:
    """`call` is slurm.sh on it; `log` is that of its node."""

    call: Callable[..., None]
    log: Path


class Submitted:
    """Snakemake at work in a copy of the repository, submitting to SLURM.

    Attributes:
        all: every one that has been started, so that none outlives the tests.
    """

    all: ClassVar[list[Submitted]] = []

    def __init__(self, repository: Repository, target: str, *more: str) -> None:
        self.root = repository.root
        self._log = self.root / "submitted.log"
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                repository.command(target, *more, *LOOPBACK), cwd=self.root, stdout=log,
                stderr=subprocess.STDOUT, env=environment(), start_new_session=True,
            )  # fmt: skip
        self.all.append(self)

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def finish(self) -> str:
        """Wait for the end of a run that succeeds; all that it has printed."""
        assert self.process.wait(timeout=600) == 0, self.output[-4000:]
        return self.output

    def stage(self, name: str) -> psutil.Process:
        """The process of a stage of this run, once SLURM has started it."""
        return self._await(lambda: _process(name, self.root), name)

    def job(self) -> str:
        """The number of the job that SLURM is running for this run."""
        return self._await(lambda: next(iter(self.jobs("RUNNING")), None), "a running job")

    def jobs(self, *states: str) -> list[str]:
        """The numbers of this run's jobs that are in one of these states."""
        listed = (line.split("|") for line in squeue("%i|%T|%Z").splitlines())
        return [
            job for job, state, folder in listed if folder == str(self.root) and state in states
        ]

    def _await(self, look: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            if (found := look()) is not None:
                return found
            assert self.process.poll() is None, self.output[-4000:]
            time.sleep(0.1)
        raise AssertionError(f"{what} did not come: {self.output[-4000:]}")


def squeue(columns: str) -> str:
    """Jobs of all states, also those that have ended."""
    command = ["squeue", "--noheader", "--states=all", "--sort=i", f"--format={columns}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _process(stage: str, folder: Path) -> psutil.Process | None:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = process.cmdline()
            if command[1:2] == [f"stages/{stage}.py"] and process.cwd() == str(folder):
                return process
    return None


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A SLURM for these tests."""
    missing = [name for name in ("munged", "slurmctld", "slurmd") if shutil.which(name) is None]
    if os.getuid() != 0:
        pytest.skip("needs root")
    if missing:
        pytest.skip(f"no {', '.join(missing)}: tests/cluster/install.sh installs them")
    if Path("/etc/slurm/slurm.conf").exists():
        pytest.skip("this machine belongs to a cluster: /etc/slurm/slurm.conf is there")
    folder = tmp_path_factory.mktemp("slurm")

    def call(verb: str, *more: str) -> None:
        subprocess.run([SLURM, verb, folder, *more], check=True)

    call("start")
    try:
        yield Cluster(call, folder / "log/slurmd.log")
        print(f"\n{squeue('%.4i %.10T %.6M %.8m %.4C %k')}")
    finally:
        for run in Submitted.all:
            if run.process.poll() is None:
                os.killpg(run.process.pid, signal.SIGKILL)
        call("stop")


@pytest.fixture(scope="module")
def left(
    slurm: Cluster, pristine: Repository, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Submitted]]]:
    """What the scenarios leave behind, by their names; they are at work from the first test on."""

    def start(name: str, scenario: Callable[[Repository], Submitted]) -> Future[Submitted]:
        return pool.submit(scenario, pristine.copy(tmp_path_factory.mktemp(name) / "repository"))

    with ThreadPoolExecutor(max_workers=len(SCENARIOS)) as pool:
        yield {name: start(name, scenario) for name, scenario in SCENARIOS.items()}


def interrupted_table(repository: Repository) -> Submitted:
    """Table 4's rows of LOST; Ctrl-C while features are extracted, and the same again."""
    wanted = ("results/table4.csv", *repository.configured(LOST_ROWS, TINY_FILE))
    run = Submitted(repository, *wanted)
    run.stage("extract_features")
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.process.wait(timeout=120) != 0
    assert run.jobs("PENDING", "RUNNING", "COMPLETING") == []
    run = Submitted(repository, *wanted)
    run.finish()
    return run


def cancelled(repository: Repository) -> Submitted:
    """Somebody's scancel."""
    run = rendering(repository)
    run.stage("render_scenes")
    subprocess.run(["scancel", run.job()], check=True)
    run.finish()
    return run


def hanging(repository: Repository) -> Submitted:
    """A job that hangs until its time is over: of 1 minute, the shortest that SLURM knows."""
    run = rendering(repository, "--set-resources", "render_scenes:runtime=attempt")
    run.stage("render_scenes").suspend()
    run.finish()
    return run


def too_large(repository: Repository) -> Submitted:
    """A job that needs more memory than it has asked for, and asks for more the next time."""
    # Snakemake itself takes about 100 MB in a job, and the stage 120 more.
    memory = "render_scenes:mem_mb=160 if attempt == 1 else 2000"
    run = rendering(repository, "--set-resources", memory)
    run.finish()
    return run


def hopeless(repository: Repository) -> Submitted:
    """A job that fails however often it is tried."""
    changes = repository.configured({"datasets": {"tiny": {"preset": "tun"}}}, TINY_FILE)
    run = Submitted(repository, RENDERED, *changes, "--retries", "1")
    assert run.process.wait(timeout=300) != 0
    return run


def rendering(repository: Repository, *more: str) -> Submitted:
    """A run of one job of some seconds."""
    return Submitted(repository, RENDERED, *repository.configured(RENDER, TINY_FILE), *more)


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (interrupted_table, cancelled, hanging, too_large, hopeless)
}


def test_interrupted_and_started_again(left: dict[str, Future[Submitted]]) -> None:
    run = left["interrupted_table"].result()
    with open(run.root / "results/table4.csv", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["model"] for row in rows] == ["LOST", "Ours (LOST)"]
    assert "rule render_scenes:" not in run.output.rsplit("Job stats:", 1)[1]  # as it was made


def test_shards_and_scores_go_in_packs(left: dict[str, Future[Submitted]]) -> None:
    run = left["interrupted_table"].result()
    comments = [line.split("|")[1] for line in squeue("%Z|%k").splitlines()
                if line.startswith(f"{run.root}|")]  # fmt: skip
    assert comments.count("rule_boxes_tiny_scenes_vit_pseudo_boxes") == 1
    assert not any(comment.startswith("rule_pseudo_boxes") for comment in comments)


# Without control groups, SLURM has no name for what it does to a job that takes too much memory.
ENDED = {"cancelled": "CANCELLED", "hanging": "TIMEOUT", "too_large": "FAILED"}


@pytest.mark.parametrize("name", ENDED)
def test_a_job_that_slurm_ends_is_reported_and_tried_again(
    left: dict[str, Future[Submitted]], name: str
) -> None:
    run = left[name].result()
    assert "Error in rule render_scenes:" in run.output
    assert f"log: {RENDER_LOG}" in run.output
    assert f"SLURM status is: '{ENDED[name]}'" in run.output
    assert run.output.count("Trying to restart job") == 1
    assert len(run.jobs("COMPLETED")) == 1
    index = json.loads((run.root / RENDERED).read_text())
    assert len(index["images"]) == RENDER["datasets"]["tiny"]["count"]
    assert list((run.root / "results/tiny").glob(".*")) == []


def test_too_much_memory_is_what_ended_that_job(
    slurm: Cluster, left: dict[str, Future[Submitted]]
) -> None:
    (job,) = left["too_large"].result().jobs("FAILED")
    assert re.search(rf"StepId={job}\.\S+ exceeded memory limit", slurm.log.read_text())


def test_a_job_that_cannot_succeed_is_told_in_one_line(left: dict[str, Future[Submitted]]) -> None:
    run = left["hopeless"].result()
    assert "Error in rule render_scenes:" in run.output
    assert run.output.count("Trying to restart job") == 1
    assert "render_scenes.py: error: --preset tun: unknown" in run.output
    assert len(run.jobs("FAILED")) == 2
    assert not (run.root / RENDERED).exists()


def test_a_restarted_controller_is_waited_for(
    slurm: Cluster, left: dict[str, Future[Submitted]], repository: Repository
) -> None:
    for scenario in left.values():
        scenario.result()
    run = rendering(repository)
    stage = run.stage("render_scenes")
    stage.suspend()  # so that the job outlives the controller
    slurm.call("restart", "15")
    stage.resume()
    assert "Error" not in run.finish()
    assert len(run.jobs("COMPLETED")) == 1
