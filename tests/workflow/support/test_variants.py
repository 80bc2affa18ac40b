"""Which variants share a training, and where it lies."""

from __future__ import annotations

from itertools import permutations

import pytest
from small_configuration import small_configuration, variant
from support.artifacts import Training
from support.variants import (
    WHOLE_TRAINING,
    detector_file,
    grounding_trainings,
    phrase_detector_file,
    shared_variant,
    trainings,
)

CONFIG = small_configuration()


@pytest.mark.parametrize(
    ("name", "methods", "shared"),
    [
        ("default", ["lost"], "default"),
        ("k10", ["lost"], "default"),  # changes nothing for LOST,
        ("k10", ["cut"], "k10"),  # but for a method that has one box by itself,
        ("k1", ["cut"], "default"),  # for which k1 changes nothing
        ("k10", ["lost", "cut"], "k10"),
        ("no_reg", ["lost"], "no_reg"),
    ],
)
def test_variants_that_are_alike_for_all_methods_are_one(
    name: str, methods: list[str], shared: str
) -> None:
    assert shared_variant(CONFIG, name, methods, WHOLE_TRAINING) == shared


def test_h_is_shared_by_those_that_train_it_alike() -> None:
    files = {
        name: detector_file(CONFIG, "vit", Training("a", name, 0, "lost"))
        for name in ("default", "no_reg", "k1")
    }
    assert files == {
        "default": "results/a/vit/lost/default/seed0/detector.safetensors",
        "no_reg": "results/a/vit/lost/default/seed0/detector.safetensors",
        "k1": "results/a/vit/lost/k1/seed0/detector.safetensors",
    }
    taught = phrase_detector_file(CONFIG, Training("a", "slow", 1))
    assert taught == "results/a/grounding/default/seed1/detector.safetensors"


def test_the_order_of_variants_changes_no_path() -> None:
    few = {"z": 5, "b": 5, "default": 10, "y": 7}
    found = set()
    for order in permutations(few):
        config = small_configuration()
        config["discovery"]["variants"] = {
            name: variant(detector={"num_boxes": few[name]}) for name in order
        }
        found.add(tuple(detector_file(config, "vit", Training("a", n, 0, "lost")) for n in few))
    (paths,) = found
    assert [path.split("/")[4] for path in paths] == ["b", "b", "default", "y"]


def test_one_training_for_each_dataset_heuristic_and_seed() -> None:
    found = [str(t) for t in trainings(CONFIG, ["a", "b"], ["lost"], "k10")]
    assert found == [
        "a.lost.default.0",
        "a.lost.default.1",
        "b.lost.default.0",
        "b.lost.default.1",
    ]
    assert [str(t) for t in grounding_trainings(CONFIG, ["a"], "k1")] == ["a.k1.0", "a.k1.1"]
