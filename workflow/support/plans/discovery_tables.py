"""Which files the tables of object discovery and the study of it are made from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from ..artifacts import Training, cad_boxes, detector_boxes, refined_backbone
from ..sections import Config, backbone_of
from ..variants import WHOLE_TRAINING, shared_variant, trainings
from .proposals import WITH_MASKS

MASK_TASKS = ("mask_iou", "mask_ap")
_LAYOUTS_WITH_MASKS = ("scenes", "coco", "pool")  # a pool may be of these


def table4(config: Config) -> list[str]:
    """CorLoc of all that Table 4 compares."""
    return [f"{folder}/metrics.json" for folder in _compared(config)]


def average_precision(config: Config) -> list[str]:
    """CorLoc, average precision and recall of all that Table 4 compares."""
    names = ("metrics", "average_precision")
    return [f"{folder}/{name}.json" for folder in _compared(config) for name in names]


def masks(config: Config) -> list[str]:
    """How well masks cover objects: of Table 4's methods that have any, on f and on f^h; and of SAM
    in the boxes of them all, where it is configured.

    Raises:
        SystemExit: boxes are made without them, or a dataset has none to measure them by.
    """
    if not config["masks"]:
        sys.exit("results/masks.csv needs masks with the boxes: add --config masks=true")
    table = config["tables"]["table4"]
    for name in table["datasets"]:
        layout = config["datasets"][name]["format"]
        if layout not in _LAYOUTS_WITH_MASKS:
            sys.exit(
                f"results/masks.csv: {name} ({layout}) has no masks of its objects, as scenes and"
                " COCO have; name other datasets in tables.table4.datasets"
            )
    methods = [method for method in table["methods"] if method in WITH_MASKS]
    places = [
        f"results/{t.dataset}/{backbone}/{t.method}"
        for t, backbone in before_and_after(config, methods)
    ]
    if config["supervised"]["sam"] is not None:
        places += [
            f"results/{t.dataset}/{backbone}/{t.method}/sam"
            for t, backbone in before_and_after(config, table["methods"])
        ]
    return [f"{place}/{task}.json" for place in dict.fromkeys(places) for task in MASK_TASKS]


def before_and_after(config: Config, methods: list[str]) -> list[tuple[Training, str]]:
    """Table 4's trainings of these methods, each with f and with f^h."""
    table = config["tables"]["table4"]
    return [
        (t, backbone)
        for t in trainings(config, table["datasets"], methods, table["variant"])
        for own in [backbone_of(config, table, t.method)]
        for backbone in (own, refined_backbone(own, t))
    ]


def _compared(config: Config) -> list[str]:
    """Every method, baseline and control on every dataset, f^h and h, and CAD on f and f^h."""
    table = config["tables"]["table4"]
    places = [
        f"{dataset}/{backbone}/{method}"
        for dataset in table["datasets"]
        for backbone, method in _untrained(config, table)
    ]
    for t in trainings(config, table["datasets"], table["methods"], table["variant"]):
        own = backbone_of(config, table, t.method)
        places.append(f"{t.dataset}/{refined_backbone(own, t)}/{t.method}")
        read = refined_backbone(own, t) if config["discovery"]["brackets"] == "f^h" else own
        places.append(f"{t.dataset}/{read}/{detector_boxes(t)}")
    places += [
        f"{t.dataset}/{learned_from}/{cad_boxes(t.method, t.seed)}"
        for t, learned_from in before_and_after(config, cad_methods(table))
    ]
    places += [
        f"{dataset}/{table['baselines'][method]}/{cad_boxes(method, seed)}"
        for dataset in table["datasets"]
        for method in table["baseline_cad"]
        for seed in config["seeds"]
    ]
    return [f"results/{place}" for place in places]


def _untrained(config: Config, table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(backbone, method) of what Table 4 has of f alone: methods, controls and baselines."""
    methods = [*table["methods"], *table["controls"]]
    ran = [(backbone_of(config, table, method), method) for method in methods]
    ran += [(own, method) for method, own in table["baselines"].items()]
    if table["random_backbone"] is not None:
        # A method on a backbone of its own needs what a random one does not have.
        ran += [
            (table["random_backbone"], method)
            for method in table["methods"]
            if backbone_of(config, table, method) == table["backbone"]
        ]
    return ran


def cad_methods(table: Mapping[str, Any]) -> list[str]:
    """The methods that CAD is trained for: some, all or none of the table's."""
    if isinstance(table["cad"], bool):
        return table["methods"] if table["cad"] else []
    return table["cad"]


def table6(config: Config) -> list[str]:
    """Metrics of f, and of f^h of each variant."""
    table = config["tables"]["table6"]
    places = []
    for variant in table["ablations"]:
        for t in trainings(config, table["datasets"], table["methods"], variant):
            refined = refined_backbone(backbone_of(config, table, t.method), t)
            places.append(f"{t.dataset}/{refined}/{t.method}")
    places += [
        f"{dataset}/{backbone_of(config, table, method)}/{method}"
        for dataset in table["datasets"]
        for method in table["methods"]
    ]
    return [f"results/{place}/metrics.json" for place in dict.fromkeys(places)]


def names_of_ablations(config: Config) -> list[str]:
    """What table 6 calls each variant, or the one that stands for it."""
    table = config["tables"]["table6"]
    return [
        f"{shared_variant(config, variant, table['methods'], WHOLE_TRAINING)}={name}"
        for variant, name in table["ablations"].items()
    ]


def study(config: Config) -> list[str]:
    """Comparisons of f^h with f, h, and CAD, on the images refined on and on those held out."""
    section, places = config["study"], []
    for t in _studied(config, section):
        own = backbone_of(config, section, t.method)
        refined = refined_backbone(own, t)
        held_out = section["held_out"].get(t.dataset)
        for dataset in (t.dataset, *([] if held_out is None else [held_out])):
            places.append(f"{dataset}/{refined}/{t.method}/comparison.json")
            places.append(f"{dataset}/{own}/{detector_boxes(t)}/metrics.json")
            if t.method in cad_methods(section):
                trained_on = None if dataset == t.dataset else t.dataset
                found = cad_boxes(t.method, t.seed, trained_on)
                places.append(f"{dataset}/{refined}/{found}/comparison.json")
    return [f"results/{place}" for place in places]


def _studied(config: Config, section: Mapping[str, Any]) -> list[Training]:
    """Every training of the study once; variants that are alike are one."""
    found = [
        training
        for variant in section["variants"]
        for training in trainings(config, section["datasets"], section["methods"], variant)
    ]
    return list(dict.fromkeys(found))
