"""Another workflow uses this one as a module, from another folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from workflow_copies import ROOT, TINY_FILE, Repository, environment

SNAKEFILE = f"""
configfile: {str(ROOT / TINY_FILE)!r}

module discovery:
    snakefile: {str(ROOT / "workflow" / "Snakefile")!r}
    config: config

use rule * from discovery as discovery_*

rule count_boxes:
    input: "results/tiny/efficientnet_lite0/lost/boxes.json"
    output: "count.txt"
    shell: "grep -o bbox {{input}} | wc -l > {{output}}"
"""


def _snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [Repository.warm_python(), "-m", "snakemake", "--cores", "1", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)


def test_rules_run_where_the_module_is_used(tmp_path: Path) -> None:
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow" / "Snakefile").write_text(SNAKEFILE)
    done = _snakemake(tmp_path, "count.txt")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "count.txt").read_text().strip() == "20"
    planned = _snakemake(tmp_path, "results/table4.csv", "--dry-run")
    assert planned.returncode == 0, planned.stderr[-3000:]
    assert {path.name for path in tmp_path.iterdir()} == {
        "workflow",
        "results",
        "count.txt",
        ".snakemake",
    }


def test_the_clone_may_have_a_blank_in_its_path(pristine: Repository, tmp_path: Path) -> None:
    clone = pristine.copy(tmp_path / "a clone")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    scenes = {"datasets": {"s": {"format": "scenes", "preset": "scenes07", "count": 1}}}
    (elsewhere / "c.json").write_text(json.dumps(scenes))
    snakefile = ["--snakefile", str(clone.root / "workflow" / "Snakefile")]
    done = _snakemake(elsewhere, "results/s/index.json", *snakefile, "--configfile", "c.json")
    assert done.returncode == 0, done.stderr[-3000:]


def test_another_directory_may_be_named(tmp_path: Path) -> None:
    arguments = ["--snakefile", str(ROOT / "workflow" / "Snakefile"), "--dry-run"]
    small = ["--configfile", str(ROOT / TINY_FILE)]
    planned = _snakemake(tmp_path, "results/table4.csv", *arguments, *small)
    assert planned.returncode == 0, planned.stderr[-3000:]
