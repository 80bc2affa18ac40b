"""Every target can be planned under every configuration, and the workflow passes its linter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from workflow_copies import BELOW, ROOT, TINY, TINY_TARGETS, Repository

OTHER_TARGETS = (
    "results/table6.csv",
    "results/table7.csv",
    "results/figures/figure1.png",
    "results/figures/figure4.png",
)

PER_DATASET_OF_TABLE4 = {
    "cache_detector_inputs": 2,  # keys for LOST and TokenCut, and MOVE's masks
    "cache_states": 1,
    "discover_objects": 2,
    # 5 baselines, two controls, two on random features; f, f^h, h and 2 CADs of three heuristics
    "evaluate_boxes": 24,
    # DINOv2 and the segmenter, f^h of three heuristics; random f, two layers of a CNN
    "extract_features": 8,
    "predict_boxes": 3,
    "predict_cad": 6,  # on f and on f^h
    "propose_regions": 2,
    "pseudo_boxes": 11,
    "refine_backbone": 3,
    "render_scenes": 1,
    "train_cad": 6,
    "train_detector": 3,
    "train_surrogate": 3,
}


TABLE4 = {rule: 3 * count for rule, count in PER_DATASET_OF_TABLE4.items()} | {
    "tabulate_metrics": 1
}


def test_table4(pristine: Repository) -> None:
    assert pristine.planned("results/table4.csv") == TABLE4


def test_seeds_share_what_does_not_depend_on_them(pristine: Repository) -> None:
    two = pristine.planned("results/table4.csv", "--config", "seeds=[0,1]")
    more = {rule: two[rule] - count for rule, count in TABLE4.items() if two[rule] != count}
    assert more == {
        "evaluate_boxes": 36,
        "extract_features": 9,
        "predict_boxes": 9,
        "predict_cad": 18,
        "pseudo_boxes": 9,
        "refine_backbone": 9,
        "train_cad": 18,
        "train_detector": 9,
        "train_surrogate": 9,
    }


@pytest.mark.parametrize(("cad", "count"), [("false", None), ("[lost]", 6), ("[]", None)])
def test_cad_rows_are_chosen(repository: Repository, cad: str, count: int | None) -> None:
    changes = {"tables": {"table4": {"cad": yaml.safe_load(cad)}}}
    planned = repository.planned("results/table4.csv", *repository.configured(changes))
    assert planned.get("train_cad") == planned.get("predict_cad") == count


def test_most_and_maskcut_have_the_rows_of_other_methods(repository: Repository) -> None:
    """f, f^h and h, and CAD on both, once they are named."""
    table = {"methods": ["most", "maskcut"], "datasets": ["scenes07"], "cad": True}
    changes = {"tables": {"table4": table}}
    planned = repository.planned("results/table4.csv", *repository.configured(changes))
    assert planned["refine_backbone"] == planned["predict_boxes"] == 2
    assert planned["train_cad"] == planned["predict_cad"] == 4
    assert planned["pseudo_boxes"] == PER_DATASET_OF_TABLE4["pseudo_boxes"] - 2


def test_average_precision_of_what_table4_compares(pristine: Repository) -> None:
    planned = pristine.planned("results/average_precision.csv")
    assert planned["evaluate_average_precision"] == planned["evaluate_boxes"] == 72


def test_variants_share_h_where_they_train_it_alike(repository: Repository) -> None:
    variants = {
        "free": {"refinement": {"regularize": "none"}},
        "k1": {"detector": {"num_boxes": 1}},
    }
    configured = repository.configured({"discovery": {"variants": variants}})
    folder = "results/scenes07/efficientnet_lite0/lost/{}/seed0/refined.safetensors"
    alike = repository.planned(*map(folder.format, ("default", "free")), *configured)
    assert (alike["refine_backbone"], alike["train_detector"]) == (2, 1)
    unlike = repository.planned(*map(folder.format, ("default", "k1")), *configured)
    assert (unlike["refine_backbone"], unlike["train_detector"]) == (2, 2)
    assert unlike["cache_detector_inputs"] == 1


PER_DATASET_OF_TABLE6 = {
    "cache_detector_inputs": 1,
    "cache_states": 1,
    "evaluate_boxes": 6,  # f, and f^h of each variant
    "extract_features": 6,
    "pseudo_boxes": 6,
    "refine_backbone": 5,
    "render_scenes": 1,
    "train_detector": 4,  # for k = 10 the one that table 4 has, with and without L_f
    "train_surrogate": 4,
}


def test_table6(pristine: Repository) -> None:
    expected = {rule: 3 * count for rule, count in PER_DATASET_OF_TABLE6.items()}
    assert pristine.planned("results/table6.csv") == expected | {"tabulate_metrics": 1}


def test_table6_shares_f_h_with_table4(pristine: Repository) -> None:
    both = pristine.planned("results/table4.csv", "results/table6.csv")
    assert both["refine_backbone"] == TABLE4["refine_backbone"] + 3 * 4
    assert both["train_detector"] == TABLE4["train_detector"] + 3 * 3


def test_table7_needs_nothing_that_table4_does_not(pristine: Repository) -> None:
    both = pristine.planned("results/table4.csv", "results/table7.csv")
    assert both == TABLE4 | {"tabulate_runtime": 1}


FIGURE_OF_LOST = {
    "extract_features": 2,
    "pseudo_boxes": 2,
    "cache_detector_inputs": 1,
    "train_detector": 1,
    "train_surrogate": 1,
    "refine_backbone": 1,
}


FIGURE_OF_G = {
    "extract_training_heatmaps": 1,
    "heatmap_pseudo_boxes": 1,
    "train_phrase_detector": 1,
    "refine_grounder": 1,
    "extract_heatmaps": 2,
    "heatmap_boxes": 2,
}


def test_figures_of_maps(pristine: Repository) -> None:
    """Figure 1 shows LOST and g; figure 4 three heuristics on backbones of their own, and CAD."""
    shared = {"render_scenes": 1, "draw_maps": 1}
    assert pristine.planned("results/figures/figure1.png") == {
        **FIGURE_OF_LOST,
        **FIGURE_OF_G,
        "cache_states": 1,
        "render_scenes": 3,
        "draw_maps": 1,
    }
    assert pristine.planned("results/figures/figure4.pdf") == {
        **shared,
        **{rule: 3 * count for rule, count in FIGURE_OF_LOST.items()},
        # LOST and TokenCut read one backbone.
        "cache_states": 1,
        "cache_detector_inputs": 2,
        "extract_features": 5,
        "train_cad": 6,
        "predict_cad": 6,
    }


def test_another_heuristic_in_a_figure_is_two_columns_more(repository: Repository) -> None:
    changes = {"figures": {"maps": {"figure4": {"methods": {"dino_seg": "dinov2_scenes"}}}}}
    jobs = repository.planned("results/figures/figure4.png", *repository.configured(changes))
    assert (jobs["refine_backbone"], jobs["extract_features"], jobs["draw_maps"]) == (4, 6, 1)


OVERLAYS = sorted(path.stem for path in (ROOT / "workflow" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays(repository: Repository, overlay: str) -> None:
    targets = (*TINY_TARGETS, *OTHER_TARGETS)
    names = [BELOW[overlay]] if overlay in BELOW else []
    files = [f"workflow/configs/{name}.yaml" for name in (*names, overlay)]
    seeds = [0]
    for file in files:
        content = yaml.safe_load((repository.root / file).read_text())
        put_photographs(repository, content)
        seeds = content.get("seeds", seeds)
    # Two seeds at most: five make plans of up to 670 jobs; test_grounding_names has one of those.
    repository.planned(*targets, "--configfile", *files, "--config", f"seeds={seeds[:2]}")


def test_rules_of_the_release_on_scenes(pristine: Repository) -> None:
    """Tables of phrases and captions by the released code's rules: no more jobs than by ours."""
    files = [f"workflow/configs/{name}.yaml" for name in ("release", "release_on_scenes")]
    targets = [f"results/table{number}.csv" for number in (1, 2, 3, 5)]
    planned = pristine.planned(*targets, "--configfile", *files)
    assert planned == pristine.planned(*targets)
    assert sum(planned.values()) == 192
    assert not [rule for rule in planned if rule.startswith("fetch")]


def put_photographs(repository: Repository, overlay: dict[str, Any]) -> None:
    """Make the folders and files, empty, that nothing fetches and an overlay's datasets name."""
    for dataset in overlay.get("datasets", {}).values():
        if "photographs" in Path(dataset.get("source", "")).parts:
            (repository.root / dataset["source"]).mkdir(parents=True, exist_ok=True)
            if "annotations" in dataset:
                path = repository.root / dataset["annotations"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}")


def test_the_test_configuration_plans_both_shards(pristine: Repository) -> None:
    jobs = pristine.planned("results/tiny/efficientnet_lite0/lost/boxes.json", *TINY)
    assert jobs == {
        "render_scenes": 1,
        "extract_features": 2,
        "pseudo_boxes_of_shard": 2,
        "merge_boxes": 1,
    }


def test_a_pool_is_a_dataset_like_others(repository: Repository) -> None:
    options = repository.configured({"datasets": {"all": {"pool": ["scenes07", "scenes12"]}}})
    target = "results/all/efficientnet_lite0/lost/boxes.json"
    assert repository.planned(target, *options, *TINY[1:]) == {
        "render_scenes": 2,
        "pool_indexes": 1,
        "extract_features": 1,
        "pseudo_boxes": 1,
    }


def test_the_embedded_weights_can_be_remade(pristine: Repository) -> None:
    jobs = pristine.planned("results/resources/scenes_move.safetensors")
    assert jobs == {"render_scenes": 2, "pretrain_inpainter": 1, "train_segmenter": 1}


def test_lint(pristine: Repository) -> None:
    assert "good condition" in pristine.snakemake("--lint").stdout


def test_facets_are_swept_by_one_job_for_a_dataset_and_a_backbone(repository: Repository) -> None:
    swept = {
        "datasets": ["scenes07", "scenes12"],
        "backbones": ["dinov2_scenes"],
        "methods": {"lost": {"k_patches": [3, 0.25]}, "found": {}, "tokencut": None},
    }
    options = repository.configured({"facets": swept})
    target = "results/facets.csv"
    assert repository.planned(target, *options) == {
        "render_scenes": 2,
        "sweep_facets": 2,
        "tabulate_facets": 1,
    }
    command = repository.snakemake(target, *options, "--dry-run", "--printshellcmds").stdout
    assert '"lost": {"k_patches": [3, 0.25]}' in command
