"""Snakemake on copies of the repository, so that a test leaves the working tree as it is."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from warm_python import warm_python

ROOT = Path(__file__).parents[2]

TINY_FILE = "workflow/configs/test.yaml"
TINY = ("--configfile", TINY_FILE)
# Overlays that name what another one brings, and that one.
BELOW = {
    "published_weights": "paper",
    "release": "paper",
    "release_on_scenes": "release",
    "trial": "paper",
    "study_cad": "study",
    "study_ablations": "study",
    "tune_photographs": "study_photographs",
}
TINY_TARGETS = ("results/table4.csv", "results/study.csv", "all")
# A configuration of Table 4's rows of LOST alone.
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


def default_configuration() -> dict[str, Any]:
    """What Snakemake reads without --configfile: the defaults by task, and config.yaml on top."""
    config: dict[str, Any] = {}
    for path in (
        *sorted((ROOT / "workflow" / "configs" / "defaults").glob("*.yaml")),
        ROOT / "config.yaml",
    ):
        merge(config, yaml.safe_load(path.read_text(encoding="utf-8")))
    return config


def merge(below: dict[str, Any], above: dict[str, Any]) -> None:
    """Put one configuration on top of another, in place, key by key."""
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            merge(below[key], value)
        else:
            below[key] = value


@dataclass(frozen=True)
class Repository:
    """A copy of what the workflow runs from."""

    root: Path

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Snakemake there; its output comes back as text, both streams in one."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert not check or done.returncode == 0, done.stdout[-4000:]
        return done

    @staticmethod
    @functools.cache
    def warm_python() -> Path:
        """A Python that has imported Snakemake and what stages use; it ends with the tests."""
        kept = contextlib.ExitStack()
        atexit.register(kept.close)
        # A socket may have 108 bytes of path.
        folder = kept.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        return kept.enter_context(warm_python(Path(folder) / "python"))

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """The command line; targets go first, since some options take several values."""
        return [str(Repository.warm_python()), "-m", "snakemake", *arguments]

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a run would start."""
        output = self.snakemake(*arguments, "--dry-run").stdout
        if "Nothing to be done" in output:
            return {}
        jobs = dict(re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE))
        assert jobs, output[-4000:]
        return {rule: int(count) for rule, count in jobs.items() if rule not in ("total", "all")}

    def configured(self, changes: dict[str, Any], *below: str) -> tuple[str, ...]:
        """Arguments for a configuration with changes, on top of the files `below`."""
        (self.root / "changes.yaml").write_text(yaml.safe_dump(changes), encoding="utf-8")
        return ("--configfile", *below, "changes.yaml")

    def copy(self, root: Path) -> Repository:
        """The same files, dates and Snakemake records in another place."""
        shutil.copytree(self.root, root, dirs_exist_ok=True, symlinks=True)
        return Repository(root)


def environment() -> dict[str, str]:
    """The environment in which `python` is the interpreter that runs the tests."""
    folder = str(Path(sys.executable).parent)
    return os.environ | {"PATH": os.pathsep.join((folder, os.environ["PATH"]))}
