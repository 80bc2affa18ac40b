"""What the targets of "what is where by looking" plan."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from workflow_copies import Repository, default_configuration


def test_table3(pristine: Repository) -> None:
    jobs = pristine.planned("results/table3.csv")
    assert jobs == {
        "render_scenes": 5,
        "extract_training_heatmaps": 2,
        "heatmap_pseudo_boxes": 2,
        "train_phrase_detector": 2,
        "refine_grounder": 2,
        "describe_regions": 3,  # once for each test set, whatever looks for the captions
        "merge_descriptions": 3,
        "match_captions": 3,
        "extract_caption_heatmaps": 3 * 4,  # g and g^h of two training sets
        "caption_boxes": 3 * 4,
        "evaluate_captions": 3 * 4 * 2,
        "tabulate_metrics": 1,
    }


def test_seeds_share_captions_and_shards_are_jobs_of_their_own(repository: Repository) -> None:
    datasets = default_configuration()["datasets"]
    changes = {
        "seeds": [0, 1, 2],
        "datasets": {"regions_test": datasets["regions_test"] | {"shards": 4}},
        "tables": {"table3": {"train": ["captions"], "test": ["regions_test"]}},
    }
    jobs = repository.planned("results/table3.csv", *repository.configured(changes))
    assert jobs["describe_regions"] == 4
    assert jobs["merge_descriptions"] == jobs["match_captions"] == 1
    assert jobs["extract_caption_heatmaps"] == 1 + 3


def test_own_photographs(repository: Repository) -> None:
    targets = ("results/mine/descriptions.html", "results/mine/descriptions.json")
    refused = repository.snakemake(*targets, "--dry-run", check=False)
    assert "needs your photographs: add --config images=PATH" in refused.stdout
    (repository.root / "photos").mkdir()
    jobs = repository.planned(*targets, "--config", "images=photos")
    assert jobs == {
        "index_dataset": 1,
        "describe_regions": 1,
        "merge_descriptions": 1,
        "extract_caption_heatmaps": 1,
        "caption_boxes": 1,
        "draw_own_descriptions": 1,
        "list_own_descriptions": 1,
    }


def test_gains_and_resources_can_be_asked_for(pristine: Repository) -> None:
    folder = "results/regions_test/wwbl"
    jobs = pristine.planned(
        f"{folder}/gh.captions.default.0/pointing_game.comparison.json",
        f"{folder}/g.captions/descriptions.html",
        "results/resources/scenes_captioner.safetensors",
    )
    assert jobs["compare_captions"] == jobs["draw_descriptions"] == jobs["train_captioner"] == 1


@pytest.mark.slow
def test_own_photographs_are_described(repository: Repository) -> None:
    folder = repository.root / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("wide.jpg", (40, 64)), ("tall.png", (64, 48))):
        coarse = rng.integers(0, 255, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST).save(folder / name)
    targets = ("results/mine/descriptions.html", "results/mine/descriptions.json")
    repository.snakemake(*targets, "--cores", "1", "--config", "images=photos")
    page = (repository.root / targets[0]).read_text()
    described = json.loads((repository.root / "results/mine/wwbl/descriptions.json").read_text())
    for image in described["images"]:
        assert image["file_name"] in page
        assert image["phrases"]
        assert all(caption in page for caption in image["phrases"])
    for record in json.loads((repository.root / targets[1]).read_text()):
        assert record["caption"] in page
