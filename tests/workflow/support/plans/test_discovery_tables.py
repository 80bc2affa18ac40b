"""What the tables of object discovery are made from, worked out by hand."""

from __future__ import annotations

import pytest
from small_configuration import small_configuration
from support.plans import detectors, discovery_tables, states

TRAINED = ("lost.default.0", "lost.default.1")


def test_table4() -> None:
    expected = ["vit/lost", "vit/box", "pixels/edges", "wild/lost"]
    for training in TRAINED:
        expected += [f"vit+a.{training}/lost", f"vit/h.a.{training}"]
    for seed, training in enumerate(TRAINED):
        expected += [f"vit/cad.lost.{seed}", f"vit+a.{training}/cad.lost.{seed}"]
    config = small_configuration()
    assert discovery_tables.table4(config) == [f"results/a/{e}/metrics.json" for e in expected]
    assert discovery_tables.average_precision(config) == [
        f"results/a/{e}/{name}.json" for e in expected for name in ("metrics", "average_precision")
    ]


def test_masks_of_f_and_of_each_f_h() -> None:
    config = small_configuration()
    with pytest.raises(SystemExit, match="add --config masks=true"):
        discovery_tables.masks(config)
    folders = [f"results/a/{f}/lost" for f in ("vit", *(f"vit+a.{t}" for t in TRAINED))]
    tasks = ("mask_iou", "mask_ap")
    assert discovery_tables.masks(config | {"masks": True}) == [
        f"{folder}/{task}.json" for folder in folders for task in tasks
    ]
    config["supervised"]["sam"] = "sam"
    methods = config["tables"]["table4"]["methods"]
    added = discovery_tables.masks(config | {"masks": True})[len(folders) * len(tasks) :]
    assert {path.rpartition("/")[0] for path in added} >= {f"{folder}/sam" for folder in folders}
    assert len(added) == len(methods) * len(folders) * len(tasks)  # also of what has no masks
    config["tables"]["table4"]["datasets"] = ["a", "b"]
    with pytest.raises(SystemExit, match=r"b \(voc\) has no masks"):
        discovery_tables.masks(config | {"masks": True})


def test_cad_on_the_boxes_of_a_baseline() -> None:
    config = small_configuration()
    config["tables"]["table4"]["baseline_cad"] = ["edges"]
    more = set(discovery_tables.table4(config)) - set(
        discovery_tables.table4(small_configuration())
    )
    assert more == {f"results/a/pixels/cad.edges.{seed}/metrics.json" for seed in (0, 1)}


def test_brackets_of_what_was_refined() -> None:
    config = small_configuration()
    config["discovery"]["brackets"] = "f^h"
    found = discovery_tables.table4(config)
    training = f"a.{TRAINED[0]}"
    assert f"results/a/vit+{training}/h.{training}/metrics.json" in found
    assert f"results/a/vit/h.{training}/metrics.json" not in found
    inputs = detectors.inputs_file(config, "a", f"vit+{training}", "lost")
    assert inputs == f"results/a/vit+{training}/detector_inputs/default.h5"
    assert states.of_inputs(config, "a", f"vit+{training}", "default") == []


def test_a_method_on_its_own_backbone_has_no_random_control() -> None:
    config = small_configuration()
    config["tables"]["table4"] |= {"methods": ["cut"], "cad": False}
    found = discovery_tables.table4(config)
    assert "results/a/cnn/cut/metrics.json" in found
    assert not [path for path in found if "wild" in path or "cad" in path]


def test_table6_counts_what_changes_nothing_as_the_default() -> None:
    config = small_configuration()
    assert discovery_tables.table6(config) == [
        f"results/a/vit{refined}/lost/metrics.json"
        for refined in (
            "+a.lost.no_reg.0",
            "+a.lost.no_reg.1",
            "+a.lost.default.0",
            "+a.lost.default.1",
            "",
        )
    ]
    assert discovery_tables.names_of_ablations(config) == ["no_reg=w/o reg.", "default=k=10"]


def test_study_with_images_held_out() -> None:
    config = small_configuration()
    config["seeds"] = [0]
    assert discovery_tables.study(config) == [
        "results/a/vit+a.lost.default.0/lost/comparison.json",
        "results/a/vit/h.a.lost.default.0/metrics.json",
        "results/b/vit+a.lost.default.0/lost/comparison.json",
        "results/b/vit/h.a.lost.default.0/metrics.json",
    ]
    config["study"] |= {"cad": ["lost"]}
    with_cad = [path for path in discovery_tables.study(config) if "cad" in path]
    assert with_cad == [
        "results/a/vit+a.lost.default.0/cad.lost.0/comparison.json",
        "results/b/vit+a.lost.default.0/cad.a.lost.0/comparison.json",
    ]


def test_variants_of_a_study_that_are_alike_are_one() -> None:
    config = small_configuration()
    config["seeds"] = [0]
    config["study"] |= {"variants": ["default", "same", "no_reg"], "held_out": {}}
    alike = config["discovery"]["variants"]
    alike["same"] = alike["default"]
    assert discovery_tables.study(config) == [
        "results/a/vit+a.lost.default.0/lost/comparison.json",
        "results/a/vit/h.a.lost.default.0/metrics.json",
        "results/a/vit+a.lost.no_reg.0/lost/comparison.json",
        "results/a/vit/h.a.lost.no_reg.0/metrics.json",
    ]
