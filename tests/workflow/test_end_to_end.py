"""Real runs of the test configuration: what is made, what an edit reruns, what a kill leaves."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from workflow_copies import TINY, TINY_FILE, TINY_TARGETS, Repository, environment

F = "efficientnet_lite0"  # of the test configuration
RESULTS = (
    "table4.csv",
    "table4.md",
    "study.csv",
    "tiny/efficientnet_lite0/lost/default/seed0/boxes.png",
)

# Jobs that follow from a stage, on the images refined on (in two shards) and on those held out.
TABLES = {"tabulate_metrics": 2}  # Table 4 and the study
AFTER_METRICS = {"compare_metrics": 2, **TABLES}
AFTER_F_H = {
    "extract_features": 3,
    "pseudo_boxes": 1,
    "pseudo_boxes_of_shard": 2,
    "merge_boxes": 1,
    "draw_refined_boxes": 1,
    "train_cad": 1,
    "predict_cad": 1,
    "evaluate_boxes": 3,
    **AFTER_METRICS,
}
AFTER_H = {**AFTER_F_H, "predict_boxes": 2, "refine_backbone": 1, "evaluate_boxes": 5}
AFTER_BOXES = {
    **AFTER_H,
    "train_detector": 1,
    "train_surrogate": 1,
    "train_cad": 2,
    "predict_cad": 2,
    "merge_boxes": 6,
    "evaluate_boxes": 12,
    "pseudo_boxes": 2,
    "pseudo_boxes_of_shard": 12,
}
AFTER_FEATURES = {**AFTER_BOXES, "extract_features": 8}
EVERYTHING = {**AFTER_FEATURES, "cache_detector_inputs": 2, "render_scenes": 2}
NOT_RENDERING = {rule: count for rule, count in EVERYTHING.items() if rule != "render_scenes"}

# An edited file of stages/, and the jobs that then run again.
CODE = {
    "refine_backbone.py": {"refine_backbone": 1, **AFTER_F_H},
    "train_detector.py": {"train_detector": 1, "train_surrogate": 1, **AFTER_H},
    "predict_boxes.py": {
        "predict_boxes": 2,
        "evaluate_boxes": 2,
        "draw_refined_boxes": 1,
        **TABLES,
    },
    "extract_features.py": AFTER_FEATURES,
    "evaluate.py": {"evaluate_boxes": 12, **AFTER_METRICS},
    "predict_cad.py": {"predict_cad": 2, "evaluate_boxes": 2, "tabulate_metrics": 1},
    "bbr/cad/batches.py": {
        "train_cad": 2,
        "predict_cad": 2,
        "evaluate_boxes": 2,
        "tabulate_metrics": 1,
    },
    "bbr/refinement/objective.py": {"refine_backbone": 1, **AFTER_F_H},
    "bbr/heuristics/lost.py": AFTER_BOXES,
    "bbr/reporting/tables.py": TABLES,
    "bbr/reporting/contact_sheets.py": {"draw_refined_boxes": 1},
    "bbr/backbones/build.py": NOT_RENDERING,
    "bbr/scenes/palette.py": EVERYTHING,
    "bbr/move/inpainter.py": {},
}

# Changes of the configuration, and the jobs that then run again.
KEYS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "discovery.refinement.lr": (
        {"discovery": {"refinement": {"lr": 3e-6}}},
        CODE["refine_backbone.py"],
    ),
    "discovery.loss_weights.giou_weight": (
        {"discovery": {"loss_weights": {"giou_weight": 3}}},
        CODE["train_detector.py"],
    ),
    "tokencut.threshold": (
        {"heuristics": {"tokencut": {"threshold": 0.3}}},
        {"pseudo_boxes_of_shard": 2, "merge_boxes": 1, "evaluate_boxes": 1, "tabulate_metrics": 1},
    ),
    "center.label": (
        {"heuristics": {"center": {"label": "Middle"}}},
        {"evaluate_boxes": 1, "tabulate_metrics": 1},
    ),
    "cad.prediction.nms_threshold": (
        {"cad": {"prediction": {"nms_threshold": 0.5}}},
        CODE["predict_cad.py"],
    ),
    "cad.training.lr": ({"cad": {"training": {"lr": 0.1}}}, CODE["bbr/cad/batches.py"]),
    "figures.boxes.count": (
        {"figures": {"boxes": {"count": 5}}},
        CODE["bbr/reporting/contact_sheets.py"],
    ),
    "controls": ({"tables": {"table4": {"controls": ["center"]}}}, {"tabulate_metrics": 1}),
    "precision": ({"precision": "bf16"}, NOT_RENDERING),
    "device": ({"device": "cpu"}, {}),
    "threads": ({"threads": 3}, {}),
}


@pytest.fixture
def edited(finished: Repository, tmp_path: Path) -> Repository:
    """A copy of the finished work, for one test to change."""
    return finished.copy(tmp_path / "edited")


def test_the_table_has_its_rows(finished: Repository) -> None:
    with open(finished.root / "results/table4.csv", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["model"] for row in rows] == [
        "LOST",
        "Ours (LOST)",
        "TokenCut",
        "LOST + CAD",
        "Ours (LOST) + CAD",
        "Centre box",
        "Whole image",
        "LOST, random-init f",
    ]
    ours = rows[1]["tiny"]
    assert ours.endswith(")")
    assert "(" in ours


@pytest.mark.slow
def test_baselines_that_look_at_all_images_and_cad_on_one_of_them(edited: Repository) -> None:
    """DDT+ on two layers, LOD, and the paper's row LOD + CAD, from images to the table."""
    baselines = {
        "tokencut": None,
        "ddt": "efficientnet_lite0_last",
        "lod": "efficientnet_lite0_raw",
    }
    changes = {"tables": {"table4": {"baselines": baselines, "baseline_cad": ["lod"]}}}
    configured = edited.configured(changes, TINY_FILE)
    assert edited.planned("results/table4.csv", *configured) == {
        "extract_features": 4,  # two layers of two shards
        "discover_objects": 2,
        "train_cad": 1,
        "predict_cad": 1,
        "evaluate_boxes": 3,
        "tabulate_metrics": 1,
    }
    edited.snakemake("results/table4.csv", "--cores", "2", *configured)
    with open(edited.root / "results/table4.csv", encoding="utf-8", newline="") as lines:
        found = {row["model"]: float(row["tiny"].split()[0]) for row in csv.DictReader(lines)}
    assert {"DDT+", "LOD", "LOD + CAD"} < set(found)
    # One convolutional stage finds something of the common object, and CAD learned two steps.
    assert found["LOD"] > 30
    assert all(0 <= value <= 100 for value in found.values())


def test_the_study_tells_seen_from_unseen_images(finished: Repository) -> None:
    with open(finished.root / "results/study.csv", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["dataset"], row["images"]) for row in rows] == [
        ("tiny", "train"),
        ("tiny", "held-out"),
    ]


def test_nothing_is_left_to_do(finished: Repository) -> None:
    assert finished.planned(*TINY_TARGETS, *TINY) == {}


@pytest.mark.parametrize("file", CODE)
def test_an_edit_reruns_its_stage_and_what_follows(edited: Repository, file: str) -> None:
    with open(edited.root / "stages" / file, "a", encoding="utf-8") as handle:
        handle.write("\n# A remark.\n")
    assert edited.planned(*TINY_TARGETS, *TINY) == CODE[file]


def test_an_edit_reruns_nothing_where_code_is_not_tracked(edited: Repository) -> None:
    with open(edited.root / "stages/bbr/errors.py", "a", encoding="utf-8") as handle:
        handle.write("\n# A remark.\n")
    assert edited.planned(*TINY_TARGETS, *TINY, "--config", "track_code=false") == {}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_reruns_what_it_touches(edited: Repository, key: str) -> None:
    changes, expected = KEYS[key]
    assert edited.planned(*TINY_TARGETS, *edited.configured(changes, TINY_FILE)) == expected


def test_a_new_date_alone_reruns_nothing(edited: Repository) -> None:
    for path in (*edited.root.glob("stages/**/*.py"), *edited.root.glob("workflow/resources/*")):
        path.touch()
    assert edited.planned(*TINY_TARGETS, *TINY) == {}


def test_the_report_shows_tables_and_figures_with_captions(finished: Repository) -> None:
    report = finished.root / "report.html"
    finished.snakemake(*TINY_TARGETS, *TINY, "--report", str(report))
    text = report.read_text(encoding="utf-8")
    for part in ("table4.csv", "study.csv", "boxes.png", "the share of images", "seed 0"):
        assert part in text


def test_a_failing_stage_is_told_in_one_line(edited: Repository) -> None:
    configured = edited.configured({"datasets": {"tiny": {"preset": "tun"}}}, TINY_FILE)
    done = edited.snakemake("results/tiny/index.json", *configured, "--cores", "1", check=False)
    assert done.returncode != 0
    assert "render_scenes.py: error: --preset tun: unknown" in done.stdout
    assert "Traceback" not in done.stdout


def test_own_photographs(edited: Repository) -> None:
    photographs = edited.root / "my photos"
    photographs.mkdir()
    images = sorted((edited.root / "results/tiny/images").glob("*.jpg"))
    for image in images[:3]:
        shutil.copy(image, photographs)
    wanted = (
        "results/mine/boxes.json",
        "--config",
        f"images={photographs}",
        "backbone=efficientnet_lite0",
    )
    edited.snakemake(*wanted, "--cores", "2")
    boxes = json.loads((edited.root / "results/mine/boxes.json").read_text())
    assert [box["image_id"] for box in boxes] == [1, 2, 3]
    assert (edited.root / "results/mine/boxes.png").stat().st_size > 1000
    assert edited.planned(*wanted) == {}

    shutil.copy(images[3], photographs)
    again = {
        "index_dataset": 1,
        "extract_own_features": 1,
        "pseudo_boxes": 1,
        "draw_own_boxes": 1,
    }
    assert edited.planned(*wanted) == again
    photographs.rename(edited.root / "other photos")
    moved = (
        wanted[0],
        "--config",
        f"images={edited.root / 'other photos'}",
        "backbone=efficientnet_lite0",
    )
    assert edited.planned(*moved) == again


def test_killed_and_started_again_gives_the_same_bytes(edited: Repository) -> None:
    results = edited.root / "results"
    learned = Path(f"tiny/{F}/lost/default/seed0")
    compared = [*RESULTS, learned / "detector.safetensors", learned / "refined.safetensors"]
    wanted = {name: (results / name).read_bytes() for name in compared}
    for made_of_h in (results / learned, *results.glob("*/*+*"), *results.glob("*/*/h.*")):
        shutil.rmtree(made_of_h)
    shutil.rmtree(results / "logs")
    command = edited.command(*TINY_TARGETS, *TINY, "--cores", "2")
    logs = results / "logs/tiny"
    for job in (
        logs / f"{F}/lost/default/train_detector.0.log",
        logs / f"{F}/lost/default/refine_backbone.0.log",
        logs / f"{F}+tiny.lost.default.0/extract_features.1.log",
    ):
        _kill_during(job, command, edited.root)
        edited.snakemake("--unlock", *TINY)
    edited.snakemake(*TINY_TARGETS, *TINY, "--cores", "2")
    assert {name: (results / name).read_bytes() for name in compared} == wanted
    assert edited.planned(*TINY_TARGETS, *TINY) == {}


def _kill_during(log: Path, command: list[str], folder: Path) -> None:
    """Start a run, and kill it with all its jobs while the job with this log is at work."""
    run = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        process_group=0,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not log.exists():
        assert run.poll() is None, f"the run ended without {log}"
        time.sleep(0.1)
    time.sleep(0.3)
    assert run.poll() is None, "the run ended before it was killed"
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
