"""Every target can be planned under every configuration, and the workflow passes its linter."""

from __future__ import annotations

import pytest
from conftest import ROOT, TINY, TINY_TARGETS, Repository

PER_DATASET_OF_TABLE4 = {
    "cache_detector_inputs": 1,
    "discover_objects": 2,
    "evaluate_boxes": 11,  # 5 baselines, LOST, two boxes without features, random f, f^h, h
    "extract_features": 6,  # f, random f, f^h, what DINO-seg reads, and two layers of f as it is
    "merge_boxes": 8,
    "predict_boxes": 1,
    "propose_regions": 2,
    "pseudo_boxes": 6,
    "refine_backbone": 1,
    "render_scenes": 1,
    "train_detector": 1,
}


def test_table4(pristine: Repository) -> None:
    expected = {rule: 3 * count for rule, count in PER_DATASET_OF_TABLE4.items()}
    assert pristine.planned("results/table4.csv") == expected | {"tabulate_table4": 1}


def test_seeds_share_what_does_not_depend_on_them(pristine: Repository) -> None:
    one = pristine.planned("results/table4.csv")
    two = pristine.planned("results/table4.csv", "--config", "seeds=[0,1]")
    more = {rule: two[rule] - count for rule, count in one.items() if two[rule] != count}
    assert more == {
        "evaluate_boxes": 6, "extract_features": 3, "merge_boxes": 3, "predict_boxes": 3,
        "pseudo_boxes": 3, "refine_backbone": 3, "train_detector": 3,
    }  # fmt: skip


def test_variants_share_h_where_they_train_it_alike(repository: Repository) -> None:
    variants = {
        "free": {"refinement": {"regularize": "none"}},
        "k1": {"detector": {"num_boxes": 1}},
    }
    configured = repository.configured({"variants": variants})
    folder = "results/scenes07/scenes_vit/lost/{}/seed0/refined.safetensors"
    alike = repository.planned(*map(folder.format, ("default", "free")), *configured)
    assert (alike["refine_backbone"], alike["train_detector"]) == (2, 1)
    unlike = repository.planned(*map(folder.format, ("default", "k1")), *configured)
    assert (unlike["refine_backbone"], unlike["train_detector"]) == (2, 2)
    assert unlike["cache_detector_inputs"] == 1


OVERLAYS = sorted(path.stem for path in (ROOT / "workflow" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays(pristine: Repository, overlay: str) -> None:
    pristine.planned(*TINY_TARGETS, "--configfile", f"workflow/configs/{overlay}.yaml")


def test_the_test_configuration_plans_both_shards(pristine: Repository) -> None:
    jobs = pristine.planned("results/tiny/scenes_vit/lost/boxes.json", *TINY)
    assert jobs == {
        "render_scenes": 1, "extract_features": 2, "pseudo_boxes": 2, "merge_boxes": 1,
    }  # fmt: skip


def test_the_embedded_weights_can_be_remade(pristine: Repository) -> None:
    jobs = pristine.planned("results/resources/scenes_vit.safetensors")
    assert jobs == {"render_scenes": 1, "pretrain_backbone": 1}


def test_lint(pristine: Repository) -> None:
    assert "good condition" in pristine.snakemake("--lint").stdout
