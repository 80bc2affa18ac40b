"""Names of phrase grounding's artifacts, and what its targets plan."""

from __future__ import annotations

import re

import pytest
from support.artifacts import Training
from support.grounding_names import split_scored, split_task, study_tasks, wildcard_patterns
from workflow_copies import Repository

TAUGHT = Training("coco", "no_reg", 3)
PATTERNS = wildcard_patterns(["coco", "vg-2"], ["default", "no_reg"])


def test_names_are_taken_apart_as_they_were_put_together() -> None:
    assert Training.parse(str(TAUGHT)) == TAUGHT
    assert split_scored(f"gh.{TAUGHT}") == ("gh", "coco", TAUGHT)
    assert split_scored(f"h.{TAUGHT}") == ("h", "coco", TAUGHT)
    assert split_scored("g.coco") == ("g", "coco", None)
    assert split_scored("gae") == ("gae", None, None)
    assert split_scored("td") == ("td", None, None)


@pytest.mark.parametrize(
    ("wildcard", "name", "matches"),
    [
        ("maps", "gae", True),
        ("maps", "maskclip", True),
        ("maps", "gem", True),
        ("maps", "g.vg-2", True),
        ("maps", "gh.coco.no_reg.3", True),
        ("maps", "h.coco.no_reg.3", False),
        ("maps", "training", False),
        ("drawn", "training", True),
        ("maps", "g.other", False),
        ("scored", "h.coco.no_reg.3", True),
        ("scored", "hgh.coco.no_reg.3", True),
        ("scored", "random", True),
        ("scored", "td", True),
        ("maps", "td", False),
        ("scored", "grounding_dino", True),
        ("supervised", "sam3", True),
        ("supervised", "sam", False),
        ("maps", "owlv2", False),
        ("scored", "gh.coco.other.3", False),
        ("taught", "coco.default.0", True),
        ("lesson", "default", True),
        ("task", "pointing_game", True),
        ("task", "bbox_accuracy.absolute", True),
        ("task", "bbox_accuracy.comparison", False),
        ("threshold", "meta", False),
    ],
)
def test_patterns(wildcard: str, name: str, matches: bool) -> None:
    assert bool(re.fullmatch(PATTERNS[wildcard], name)) == matches


def test_tasks_name_the_threshold_that_is_not_configured() -> None:
    assert split_task("bbox_accuracy.absolute") == ("bbox_accuracy", "absolute")
    assert split_task("pointing_game") == ("pointing_game", None)
    for configured, other in (("minmax", "absolute"), ("absolute", "minmax")):
        tasks = ["pointing_game", "bbox_accuracy", f"bbox_accuracy.{other}"]
        assert study_tasks(configured) == tasks
    both = ["bbox_accuracy.minmax", "bbox_accuracy.absolute"]
    assert study_tasks("cubehelix") == ["pointing_game", "bbox_accuracy", *both]


# No CLIP and no g of ours, so that all is planned from images on.
FROM_SCRATCH = {
    "grounding": {
        "clip": {"clip": "openai", "clip_architecture": "ViT-B-32-quickgelu"},
        "weights": {"captions": None, "regions": None},
    }
}


def test_tables_share_what_is_alike(repository: Repository) -> None:
    configured = repository.configured(FROM_SCRATCH)
    tables = [f"results/table{n}.csv" for n in (1, 2, 5)]
    jobs = repository.planned(*tables, *configured)
    assert jobs == {
        "render_scenes": 5,
        "train_grounder": 2,
        "extract_training_heatmaps": 2,
        "heatmap_pseudo_boxes": 2,
        "train_phrase_detector": 3,  # no_union and no_reg share h with default; k1 does not
        "refine_grounder": 5,  # default on both, and three ablations
        "extract_heatmaps": 3 * 8,  # on each test set GAE, g, g^h, and three ablations
        "excite_classifier": 3,
        "heatmap_boxes": 3 * 7,
        "predict_phrase_boxes": 3 * 2,
        "evaluate_phrases": 3 * (8 + 6 + 3 * 2),
        "tabulate_metrics": 3,
    }


def test_a_dataset_in_shards_is_read_as_one(repository: Repository) -> None:
    split = {"datasets": {"captions": {"shards": 3}, "regions_test": {"shards": 2}}}
    target = "results/regions_test/grounding/gh.captions.default.0/pointing_game.json"
    jobs = repository.planned(target, *repository.configured(split))
    assert jobs == {
        "render_scenes": 2,
        "extract_training_heatmap_shard": 3,
        "merge_heatmaps": 2,
        "heatmap_pseudo_boxes": 1,
        "train_phrase_detector": 1,
        "refine_grounder": 1,
        "extract_heatmap_shard": 2,
        "evaluate_phrases": 1,
    }


def test_study_of_five_seeds(repository: Repository) -> None:
    overlay = "workflow/configs/study_grounding.yaml"
    jobs = repository.planned("results/grounding_study.csv", "--configfile", overlay)
    taught = 5 * 2 * 4  # five seeds of default and three controls, on both training sets
    assert jobs == {
        "render_scenes": 5,
        "extract_training_heatmaps": 2,
        "heatmap_pseudo_boxes": 2,
        "train_phrase_detector": 5 * 2,  # they share h
        "refine_grounder": taught,
        "extract_heatmaps": 3 * (2 + taught),
        "heatmap_boxes": 3 * (2 + taught),
        "heatmap_boxes_by_threshold": 3 * (2 + taught),
        "predict_phrase_boxes": 3 * 5 * 2,
        "evaluate_phrases": 3 * (3 * (2 + taught) + 5 * 2),
        "compare_phrases": 3 * 3 * taught,
        "tabulate_metrics": 1,
    }


def test_trials_share_h_too(repository: Repository) -> None:
    overlay = "workflow/configs/tune_grounding.yaml"
    jobs = repository.planned("results/grounding_study.csv", "--configfile", overlay)
    assert jobs["train_phrase_detector"] == 3 * 2
    assert jobs["refine_grounder"] == 3 * 2 * 9


def test_own_photographs_and_phrases(repository: Repository) -> None:
    configured = repository.configured(FROM_SCRATCH)
    target = "results/mine/grounding.json"
    refused = repository.snakemake(target, "--dry-run", *configured, check=False)
    assert "add --config images=PATH phrases=PATH" in refused.stdout
    (repository.root / "photos").mkdir()
    (repository.root / "asked.txt").write_text("a dog\n")
    own = ["--config", "images=photos", "phrases=asked.txt"]
    jobs = repository.planned(target, *configured, *own)
    assert {"index_dataset", "extract_heatmaps", "heatmap_boxes"} < jobs.keys()
    assert jobs["list_own_groundings"] == 1
    # CLIP's own maps take no g.
    by_clip = [*own, "grounding={own: gem}"]
    assert repository.planned(target, *by_clip).keys() == jobs.keys() - {
        "render_scenes",
        "train_grounder",
    }
    shown = repository.snakemake(target, "--dry-run", "--printshellcmds", *by_clip).stdout
    assert "results/mine/grounding/gem/heatmaps.h5" in shown
    assert "--source gem" in shown


def test_maps_of_clip_alone_in_the_place_of_g(repository: Repository) -> None:
    """What h reads is drawn without a g, and h is trained and scored; nothing is refined."""
    changes = {
        "grounding": {"weights": {"regions": "gem"}},
        "tables": {"table2": {"train": ["regions"]}, "table3": {"train": ["regions"]}},
    }
    configured = repository.configured(changes)
    tables = [f"results/table{number}.csv" for number in (2, 3)]
    jobs = repository.planned(*tables, *configured)
    assert jobs == {
        "render_scenes": 4,
        "extract_training_heatmaps": 1,
        "heatmap_pseudo_boxes": 1,
        "train_phrase_detector": 1,
        "extract_heatmaps": 3,
        "heatmap_boxes": 3,
        "predict_phrase_boxes": 3,
        "evaluate_phrases": 3 * 2,
        "describe_regions": 3,
        "merge_descriptions": 3,
        "match_captions": 3,
        "extract_caption_heatmaps": 3,
        "caption_boxes": 3,
        "evaluate_captions": 3 * 2,
        "tabulate_metrics": 2,
    }
    refined = "results/regions_test/grounding/gh.regions.default.0/boxes.json"
    refused = repository.snakemake(refined, "--dry-run", *configured, check=False)
    assert "gem has no weights, so that there is no g to refine" in refused.stdout
