"""The command of every planned job is one that its stage takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from planned_commands import planned_commands, require_taken
from workflow_copies import Repository

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


def test_stages_take_what_the_rules_say(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    (tmp_path / "phrases.txt").write_text("a cat\n", encoding="utf-8")
    own = (f"images={tmp_path}/photographs", f"phrases={tmp_path}/phrases.txt", "clusters=3")
    shown = repository.snakemake(
        *TARGETS, "--dry-run", "--printshellcmds", "--config", *own, "refine=true", "cad=true"
    ).stdout
    commands = planned_commands(shown)
    assert {"extract_features", "refine_backbone", "select_boxes", "cluster_boxes"} <= set(commands)
    require_taken(commands)


@pytest.mark.parametrize("files", [("paper", "release"), ("release", "release_on_scenes")])
def test_stages_take_what_the_release_s_keys_say(
    pristine: Repository, files: tuple[str, ...]
) -> None:
    tables = [f"results/table{number}.csv" for number in (2, 3, 4, 5)]
    configured = ("--configfile", *(f"workflow/configs/{name}.yaml" for name in files))
    shown = pristine.snakemake(*tables, "--dry-run", "--printshellcmds", *configured).stdout
    commands = planned_commands(shown)
    assert {"refine_grounder", "describe_regions", "predict_boxes"} <= set(commands)
    assert any("--edges whole" in line for line in commands["predict_boxes"])
    assert any("--edges free" in line for line in commands["predict_boxes"])
    assert all("--box-threshold cubehelix" in line for line in commands["heatmap_boxes"])
    require_taken(commands)
