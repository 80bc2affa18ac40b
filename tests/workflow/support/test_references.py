"""Names that keys of the configuration have of each other."""

from __future__ import annotations

from typing import Any

import pytest
from support.artifacts import COLLECTION_METHODS, IMAGE_METHODS
from support.references import patch_heuristics, references


def test_heuristics_of_patches() -> None:
    names = ["lost", *IMAGE_METHODS, "tokencut", *COLLECTION_METHODS]
    assert patch_heuristics(names) == ["lost", "tokencut"]


@pytest.fixture
def config() -> dict[str, Any]:
    """The least in which keys refer to others."""
    phrase = {"dataset": "a", "train": "a", "variant": "default"}
    return {
        "datasets": {"a": {}, "both": {"pool": ["a", "b"]}},
        "backbones": {"f": {"heuristics": {"lost": {"second_layer": "g"}}}},
        "heuristics": {"lost": {}},
        "discovery": {"variants": {"default": {}}},
        "grounding": {"variants": {"default": {}}, "own": "a", "weights": {}},
        "local_weights": [],
        "backbone": "f",
        "cluster_backbone": "f",
        "method": "lost",
        "resources": {
            "inpainter": {"dataset": "a"},
            "segmenter": {"dataset": "a", "backbone": "f"},
            "clip": {"datasets": ["a"]},
            "captioner": {"datasets": ["c"]},
        },
        "tables": {"table1": {"train": "a", "test": ["a"], "variant": "default"}},
        "figures": {"maps": {}, "phrases": phrase},
        "cad": {"training": {"dataset_steps": {}}},
        "study": {
            "backbone": "f",
            "variants": ["default"],
            "methods": ["lost"],
            "datasets": ["a"],
            "held_out": {"a": "d"},
        },
    }


def test_names_that_nothing_has_in_their_order(config: dict[str, Any]) -> None:
    wrong = [(key, name) for key, name, allowed in references(config) if name not in allowed]
    assert wrong == [
        ("datasets.both.pool", "b"),
        ("resources.captioner.datasets", "c"),
        ("backbones.f.heuristics.lost.second_layer", "g"),
        ("study.held_out.a", "d"),
    ]
