"""The profile of Kubernetes: a bucket instead of a shared folder, and pods that begin with nothing.

Snakemake, its executor and its storage plugin are the real ones; tests/helpers/bucket_server.py and
tests/helpers/pod_server.py stand for the rest of a cluster.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bucket_server import Bucket, serve_bucket
from pod_server import Pods, serve_pods
from workflow_copies import LOST_ROWS, ROOT, TINY, TINY_FILE, TINY_TARGETS, Repository, environment

FOLDER = "bucket/run/"
BOXES = "results/tiny/scenes_vit/lost"
# Pods of one shard: the fewest that go from images to a score.
ONE_SHARD = {"datasets": {"tiny": {"shards": 1}}}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_ACCESS_KEY", "me")
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_SECRET_KEY", "secret")
    with serve_bucket() as served:
        yield served


@pytest.fixture
def pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pods]:
    """Their image has the plugins already, and pip need install nothing."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pip").write_text("#!/bin/sh\n")
    (tmp_path / "bin/pip").chmod(0o755)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    path = os.pathsep.join((str(tmp_path / "bin"), environment()["PATH"]))
    with serve_pods(path, tmp_path / "kubeconfig") as served:
        yield served


def profile(bucket: Bucket) -> tuple[str, ...]:
    """The profile, with its bucket here."""
    return (
        "--workflow-profile", "workflow/profiles/kubernetes",
        "--default-storage-prefix", f"s3://{FOLDER}", "--storage-s3-endpoint-url", bucket.address,
    )  # fmt: skip


def run_in_pods(repository: Repository, pods: Pods, *arguments: str) -> None:
    """What git tracks is what pods get; not, for one, what Snakemake notes for itself."""
    shutil.copy(ROOT / ".gitignore", repository.root)
    for command in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *command], cwd=repository.root, check=True)
    done = repository.snakemake(
        *arguments, "--seconds-between-status-checks", "1", "--retries", "0", check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{pods.output()[-4000:]}"


def test_the_same_jobs_are_planned(pristine: Repository, bucket: Bucket) -> None:
    submitted = pristine.planned("results/table4.csv", *TINY, *profile(bucket))
    assert submitted == pristine.planned("results/table4.csv", *TINY)


def test_no_job_is_told_of_a_file_that_it_does_not_declare(
    pristine: Repository, bucket: Bucket
) -> None:
    targets = (
        *TINY_TARGETS, "results/table1.csv", "results/table3.csv", "results/table6.csv",
        "results/table7.csv", "results/figure3.png", "results/figures/figure1.png",
        "results/figures/figure4.png", "results/resources/scenes_clip.safetensors",
        "results/tiny/wwbl/g.captions/descriptions.html",
    )  # fmt: skip
    planned = pristine.snakemake(
        *targets, *TINY, *profile(bucket), "--dry-run", "--printshellcmds"
    ).stdout
    commands = re.findall(r"^Shell command: (.*)$", planned, re.MULTILINE)
    assert len(commands) > 100
    assert [c for c in commands if re.search(r"(?<![\w/])(results|data)/", c)] == []


def test_pods_share_nothing_but_the_bucket(
    repository: Repository, bucket: Bucket, pods: Pods
) -> None:
    wanted = (
        f"{BOXES}/metrics.json", *repository.configured(ONE_SHARD, TINY_FILE), *profile(bucket)
    )  # fmt: skip
    run_in_pods(repository, pods, *wanted)
    stored = bucket.keys(FOLDER)
    assert {f"{BOXES}/metrics.json", f"{BOXES}/boxes.meta.json"} <= {*stored}
    assert [name.name for name in (repository.root / "results").iterdir()] == ["code"]
    assert repository.planned(*wanted) == {}

    rendering, extracting = pods.containers()[:2]
    assert rendering["resources"]["limits"]["memory"] == "1000M"
    assert extracting["resources"]["limits"]["nvidia.com/gpu"] == "0"
    assert len(pods.jobs) == 5


@pytest.mark.slow
def test_a_table_is_made_by_pods(repository: Repository, bucket: Bucket, pods: Pods) -> None:
    wanted = (
        "results/table4.csv",
        *repository.configured(ONE_SHARD | LOST_ROWS, TINY_FILE),
        *profile(bucket),
    )
    run_in_pods(repository, pods, *wanted)
    table, _ = bucket.objects[f"{FOLDER}results/table4.csv"]
    rows = list(csv.DictReader(table.decode().splitlines()))
    assert [row["model"] for row in rows] == ["LOST", "Ours (LOST)"]
    assert repository.planned(*wanted) == {}
