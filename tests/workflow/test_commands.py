"""The command of every planned job is one that its stage takes."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
from workflow_copies import Repository

from bbr.command_line.parser import build_parser, parse

TARGETS = (
    "results/table1.csv",
    "results/table3.csv",
    "results/table4.csv",
    "results/figure3.png",
    "results/figures/figure1.png",
    "results/mine/boxes.html",
    "results/mine/grounding.json",
    "results/mine/descriptions.html",
    "results/mine/descriptions.json",
    "results/mine/export/coco",
    "results/mine/clusters.json",
    "results/resources/scenes_inpainter.safetensors",
    "results/resources/scenes_move.safetensors",
    "results/resources/scenes_clip.safetensors",
    "results/resources/scenes_captioner.safetensors",
)


def _commands(shown: str) -> dict[str, set[str]]:
    """What a dry run shows of each stage's command lines, by stage."""
    found: dict[str, set[str]] = {}
    command = r'python "\$BBR_STAGES/(\w+)\.py" (.*?)(?= > | && |\)? 2> |$)'
    for stage, rest in re.findall(command, shown, re.MULTILINE):
        words = re.sub(r" --threads \d+( --memory-mb \w+)?$", "", rest)
        found.setdefault(stage, set()).add(words)
    return found


def test_stages_take_what_the_rules_say(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    (tmp_path / "phrases.txt").write_text("a cat\n", encoding="utf-8")
    own = (f"images={tmp_path}/photographs", f"phrases={tmp_path}/phrases.txt", "clusters=3")
    shown = repository.snakemake(
        *TARGETS, "--dry-run", "--printshellcmds", "--config", *own, "refine=true", "cad=true"
    ).stdout
    commands = _commands(shown)
    assert {"extract_features", "refine_backbone", "select_boxes", "cluster_boxes"} <= set(commands)
    _require_taken(commands)


@pytest.mark.parametrize("files", [("paper", "release"), ("release", "release_on_scenes")])
def test_stages_take_what_the_release_s_keys_say(
    pristine: Repository, files: tuple[str, ...]
) -> None:
    tables = [f"results/table{number}.csv" for number in (2, 3, 4, 5)]
    configured = ("--configfile", *(f"workflow/configs/{name}.yaml" for name in files))
    shown = pristine.snakemake(*tables, "--dry-run", "--printshellcmds", *configured).stdout
    commands = _commands(shown)
    assert {"refine_grounder", "describe_regions", "predict_boxes"} <= set(commands)
    assert any("--edges whole" in line for line in commands["predict_boxes"])
    assert any("--edges free" in line for line in commands["predict_boxes"])
    assert all("--box-threshold cubehelix" in line for line in commands["heatmap_boxes"])
    _require_taken(commands)


def _require_taken(commands: dict[str, set[str]]) -> None:
    for stage, lines in commands.items():
        run = importlib.import_module(stage).run
        parser = build_parser(run, None, stage)
        for line in lines:
            parse(run, parser, shlex.split(line))
