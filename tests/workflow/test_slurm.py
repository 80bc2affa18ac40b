"""Jobs submitted to a real SLURM, one node on this machine: what it does to them, and what we do.

Started by tests/cluster/slurm.sh. The scenarios run side by side, each in a copy of the repository
of its own, with the profile as it ships but for `LOOPBACK` in submitted.py; each test looks at what
one has left. No scenario races against work: a stage that something is done to is held at its end
meanwhile (tests/cluster/held), and only what hangs meets a deadline.
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
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from submitted import CLUSTER, HUNG, Submitted, hold, squeue, wait_until
from workflow_copies import LOST_ROWS, ROOT, TINY, TINY_FILE, Repository

pytestmark = pytest.mark.cluster

# One job of a few seconds, which does not import torch.
RENDERED = "results/tiny/index.json"
RENDER_LOG = "results/logs/tiny/render_scenes.log"


@dataclass(frozen=True)
class Cluster:
    """`call` is slurm.sh on it; `log` is that of its node."""

    call: Callable[..., None]
    log: Path


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
        subprocess.run([CLUSTER / "slurm.sh", verb, folder, *more], check=True)

    call("start")
    try:
        yield Cluster(call, folder / "log/slurmd.log")
        print(f"\n{squeue('%.4i %.10T %.6M %.8m %.4C %k')}")
    finally:
        call("stop")


@pytest.fixture(scope="module")
def left(
    slurm: Cluster, pristine: Repository, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Submitted]]]:
    """What the scenarios leave behind, by their names; they are at work from the first test on."""

    def start(name: str, scenario: Callable[[Repository], Submitted]) -> Future[Submitted]:
        return pool.submit(scenario, pristine.copy(tmp_path_factory.mktemp(name) / "repository"))

    with ThreadPoolExecutor(max_workers=len(SCENARIOS)) as pool:
        try:
            yield {name: start(name, scenario) for name, scenario in SCENARIOS.items()}
        finally:
            for run in Submitted.all:
                if run.process.poll() is None:
                    os.killpg(run.process.pid, signal.SIGKILL)


def interrupted_table(repository: Repository) -> Submitted:
    """Table 4's rows of LOST; Ctrl-C while features are extracted, and the same again."""
    wanted = ("results/table4.csv", *repository.configured(LOST_ROWS, TINY_FILE))
    held = hold(repository.root, "extract_features")
    run = Submitted(repository, *wanted)
    run.reaches(held)
    # Snakemake's executors forget their jobs while they ask for their states, here once a second,
    # and a Ctrl-C just then leaves them to SLURM. So not then.
    run.asks(0)
    time.sleep(0.5)
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.process.wait(timeout=HUNG) != 0
    assert run.jobs("PENDING", "RUNNING") == []
    wait_until(lambda: not run.jobs("COMPLETING"), "the end of cancelled jobs")
    held.unlink()
    run = Submitted(repository, *wanted)
    run.finish()
    return run


def cancelled(repository: Repository) -> Submitted:
    """Somebody's scancel."""
    held = hold(repository.root, "render_scenes")
    run = rendering(repository)
    run.reaches(held)
    subprocess.run(["scancel", run.job()], check=True)
    return tried_again(run, held)


def hanging(repository: Repository) -> Submitted:
    """A job that hangs until its time is over: of 1 minute, the shortest that SLURM knows."""
    held = hold(repository.root, "render_scenes")
    run = rendering(repository, "render_scenes:runtime=1 if attempt == 1 else 600")
    return tried_again(run, held)


def too_large(repository: Repository) -> Submitted:
    """A job that needs more memory than it has asked for, and asks for more the next time."""
    held = hold(repository.root, "render_scenes")  # so that its memory is looked at, once a second
    # Snakemake itself takes about 100 MB in a job, and the stage 120 more.
    run = rendering(repository, "render_scenes:mem_mb=160 if attempt == 1 else 2000")
    return tried_again(run, held)


def hopeless(repository: Repository) -> Submitted:
    """A job that fails however often it is tried."""
    changes = repository.configured({"datasets": {"tiny": {"preset": "tun"}}}, TINY_FILE)
    run = Submitted(repository, RENDERED, *changes, "--retries", "1")
    assert run.process.wait(timeout=HUNG) != 0
    return run


def outlasting(repository: Repository) -> Submitted:
    """A job that is still held when nothing else is left; the last test goes on from there."""
    held = hold(repository.root, "render_scenes")
    run = rendering(repository)
    run.reaches(held)
    return run


def rendering(repository: Repository, *resources: str) -> Submitted:
    """A run of one job of some seconds."""
    changed = ("--set-resources", *resources) if resources else ()
    return Submitted(repository, RENDERED, *TINY, *changed)


def tried_again(run: Submitted, held: Path) -> Submitted:
    """The run, ended, whose first job is held until SLURM ends it; the second is not."""
    run.tries_again()
    held.unlink()
    run.finish()
    return run


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (interrupted_table, cancelled, hanging, too_large, hopeless, outlasting)
}


def test_interrupted_and_started_again(left: dict[str, Future[Submitted]]) -> None:
    run = left["interrupted_table"].result()
    with open(run.root / "results/table4.csv", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["model"] for row in rows] == ["LOST", "Ours (LOST)", "TokenCut"]
    assert "rule render_scenes:" not in run.output.rsplit("Job stats:", 1)[1]  # as it was made


def test_shards_and_scores_go_in_packs(left: dict[str, Future[Submitted]]) -> None:
    run = left["interrupted_table"].result()
    comments = [
        line.split("|")[1]
        for line in squeue("%Z|%k").splitlines()
        if line.startswith(f"{run.root}|")
    ]
    assert comments.count("rule_boxes_tiny_efficientnet_lite0_pseudo_boxes_of_shard") == 1
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
    tiny = yaml.safe_load((ROOT / TINY_FILE).read_text())["datasets"]["tiny"]
    assert len(index["images"]) == tiny["count"]
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
    slurm: Cluster, left: dict[str, Future[Submitted]]
) -> None:
    for scenario in left.values():
        scenario.result()
    run = left["outlasting"].result()
    # The look that the crash surprises; the plugin takes sacct for one that begins later.
    look = hold(run.root, "squeue")
    run.reaches(look)
    slurm.call("crash", run.job())
    look.unlink()
    run.asks(6)  # once more than the plugin does unless told to
    slurm.call("recover")
    (run.root / "held/render_scenes").unlink()
    assert "Error" not in run.finish()
    assert len(run.jobs("COMPLETED")) == 1
