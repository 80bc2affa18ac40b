"""Rows of supervised networks are planned where their folders are named."""

from __future__ import annotations

from planned_commands import planned_commands, require_taken
from workflow_copies import Repository


def test_each_named_network_has_its_jobs(repository: Repository) -> None:
    networks = ("grounding_dino", "owlv2", "sam")
    for name in networks:
        (repository.root / "networks" / name).mkdir(parents=True)
        (repository.root / "networks" / name / "model.safetensors").touch()
    test = ["expressions_test", "entities_test"]
    changes = {
        "supervised": {name: f"networks/{name}" for name in networks},
        "tables": {
            "table2": {"train": ["captions"], "test": test},
            "table4": {"datasets": ["scenes07"], "methods": ["lost", "dino_seg"]},
        },
        "datasets": {"expressions_test": {"shards": 3}},
        "masks": True,
        "precision": "bf16",
    }
    configured = repository.configured(changes)
    point = "results/entities_test/grounding/owlv2/pointing_game.json"
    targets = ("results/table2.csv", "results/masks.csv", point)
    shown = repository.snakemake(*targets, "--dry-run", "--printshellcmds", *configured).stdout
    commands = planned_commands(shown)
    assert len(commands["detect_phrases"]) == 2 * (3 + 1)  # networks, and shards of both datasets
    merged = [line for line in commands["merge_shards"] if "/owlv2/shards/" in line]
    assert [line.count("/owlv2/shards/") for line in merged] == [3]
    assert len(commands["segment_boxes"]) == 2 * 2  # two methods, on f and on f^h
    scored = commands["evaluate"]
    for label in ("OWLv2 (supervised)", "Grounding DINO (supervised)"):
        assert sum(f"'method={label}'" in line for line in scored) == 2 + label.startswith("OWL")
    of_masks = [line for line in scored if "+ SAM (supervised)" in line]
    assert len(of_masks) == 2 * 2 * 2  # the same, by two measures
    assert all("/sam/boxes.json" in line for line in of_masks)
    (pointing,) = [line for line in scored if "--task pointing_game" in line]
    assert "--boxes results/entities_test/grounding/owlv2/boxes.json" in pointing
    require_taken(
        {name: commands[name] for name in ("detect_phrases", "segment_boxes", "evaluate")}
    )
