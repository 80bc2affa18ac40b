"""How commands of jobs run: logs, what is said of killed ones, and memory."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import pytest
from small_configuration import small_configuration
from support import jobs
from workflow_copies import Repository


def run(command: str, log: Path) -> subprocess.CompletedProcess[str]:
    """A command as Snakemake runs it, in bash's strict mode."""

    class Resources:
        memory_limit = "none"

    jobs.announce_reasons()
    text = jobs.logged(command).format(threads=1, resources=Resources, log=log)
    shell = ["bash", "-c", f"set -euo pipefail; {text}"]
    return subprocess.run(shell, capture_output=True, text=True)


def test_a_command_and_its_log(tmp_path: Path) -> None:
    done = run("echo", tmp_path / "log")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "log").read_text() == "--threads 1 --memory-mb none\n"


def test_a_failed_command_says_itself_why(tmp_path: Path) -> None:
    done = run("sh -c 'echo bad >&2; exit 3'", tmp_path / "log")
    assert (done.returncode, done.stderr) == (3, "")
    assert (tmp_path / "log").read_text() == "bad\n"


def test_a_killed_one_is_told_of_in_one_line(tmp_path: Path) -> None:
    done = run("sh -c 'echo at work; kill -9 $$'", tmp_path / "log")
    assert done.returncode == 137
    (line,) = [text for text in done.stderr.splitlines() if "SIGKILL" in text]
    assert line.startswith(f"{tmp_path / 'log'}: killed (SIGKILL)")
    assert all(key in line for key in ("memory_mb", "max_side", "batch_pixels", "--cores"))
    assert (tmp_path / "log").read_text().splitlines() == ["at work", line]


def test_how_much_memory_may_be_asked_for() -> None:
    config = small_configuration()
    assert jobs.memory_limit(config) == "none"
    assert jobs.most_memory(config, local=False) == math.inf
    assert 100 < jobs.most_memory(config, local=True) < math.inf
    config["memory_mb"] = 2000
    assert jobs.memory_limit(config) == "2000"
    assert jobs.most_memory(config, local=False) == 2000


@pytest.mark.parametrize("given", [1500, None])
def test_rules_ask_for_no_more(repository: Repository, given: int | None) -> None:
    (repository.root / "photos").mkdir()
    options = [] if given is None else [f"memory_mb={given}"]
    shown = repository.snakemake(
        "results/mine/boxes.json",
        "--dry-run",
        "--printshellcmds",
        "--config",
        "images=photos",
        *options,
    ).stdout
    asked = {
        int(part.removeprefix("mem_mb="))
        for line in shown.splitlines()
        if line.strip().startswith("resources:")
        for part in line.replace(",", " ").split()
        if part.startswith("mem_mb=")
    }
    assert asked
    assert max(asked) == (given or 6000)
    assert f"--memory-mb {given or 'none'}" in shown
