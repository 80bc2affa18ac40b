"""Two workflows at once in one folder: Snakemake lets one work, and the other say why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bbr.storage.json_files import read_json

ROOT = Path(__file__).parents[2]
TARGET = "results/tiny/efficientnet_lite0/whole_image/metrics.json"


def snakemake(folder: Path) -> subprocess.Popen[str]:
    """A workflow of one dataset at work in a folder."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "1",
        TARGET,
        "--configfile",
        "workflow/configs/test.yaml",
    ]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return subprocess.Popen(
        command,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_workflows_in_one_folder(tmp_path, table):
    for name in ("envs", "stages", "workflow"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    both = [snakemake(tmp_path) for _ in range(2)]
    outputs = [run.communicate()[0] for run in both]
    codes = [run.returncode for run in both]
    assert 0 in codes, outputs
    for code, output in zip(codes, outputs, strict=True):
        assert code == 0 or "cannot be locked" in output, output
        found = "refused in one line" if code else "same result"
        table.note("two workflows at once in one folder", "Snakemake", found)
    assert read_json(tmp_path / TARGET)["task"] == "corloc"
    again = snakemake(tmp_path)
    assert "Nothing to be done" in again.communicate()[0]
