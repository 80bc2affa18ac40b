"""What evaluate.py is told about a score, so that tables place it."""

from __future__ import annotations

from collections.abc import Mapping

from .. import artifacts
from ..command_line import options
from ..grounding_names import (
    BRACKETED,
    SUPERVISED,
    UNTRAINED,
    maps_of_g,
    split_scored,
    split_task,
)
from ..sections import Config, method_name
from . import datasets


def label_options(labels: Mapping[str, object]) -> str:
    """Labels as an option of the stage."""
    return options({"label": [f"{key}={value}" for key, value in labels.items()]})


def box_labels(config: Config, dataset: str, backbone: str, boxes: str) -> dict[str, object]:
    """What boxes are of: their method, and how what proposed them was trained."""
    base, refined = artifacts.split_backbone(backbone)
    method, training = artifacts.split_boxes(boxes)
    learned = refined or training
    name = method_name(config, base, method)
    found: dict[str, object] = {
        "dataset": datasets.label(config, dataset),
        "method": name,
        "heuristic": name,
        "output": "method",
        "cad": "no",
    }
    if learned is not None:
        found |= {
            "dataset": datasets.label(config, learned.dataset),
            "method": f"Ours ({name})",
            "output": "method" if training is None else "h",
            "variant": learned.variant,
            "seed": learned.seed,
            "images": "train" if learned.dataset == dataset else "held-out",
        }
    elif config["backbones"][base]["weights"] == "random":
        found["method"] = f"{name}, random-init f"
    cad_seed = artifacts.cad_seed(boxes)
    if cad_seed is not None:
        found |= {"cad": "yes", "seed": cad_seed}
    return found


def sam_labels(config: Config, dataset: str, backbone: str, boxes: str) -> dict[str, object]:
    """What the masks are of that SAM gives boxes."""
    labels = box_labels(config, dataset, backbone, boxes)
    return labels | {"method": f"{labels['method']} + SAM (supervised)"}


def phrase_labels(config: Config, dataset: str, name: str, task: str) -> dict[str, object]:
    """What a score of phrase grounding is of; `name` is that of the maps or boxes."""
    scored = split_scored(name)
    own, kind = config["grounding"]["label"], scored.kind
    if kind == "h" and scored.dataset is not None:
        # Where CLIP's maps stand for g there is no g^h: h's boxes are in the brackets of the maps.
        of_g = maps_of_g(config, scored.dataset)
        kind = of_g if of_g in UNTRAINED else kind
    method, backbone = {
        "random": ("Random", "Random"),
        "center": ("Center", "Center"),
        "td": ("TD", config["grounding"]["classifier"]["label"]),
        "gae": ("GAE", "CLIP"),
        "maskclip": ("MaskCLIP", "CLIP"),
        "gem": ("GEM", "CLIP"),
        "g": ("WWbL", own),
        "gh": ("Ours", own),
        "h": ("Ours", own),
        "hgh": ("Ours", own),
        **{name: (f"{label} (supervised)",) * 2 for name, label in SUPERVISED.items()},
    }[kind]
    found: dict[str, object] = {
        "test": datasets.label(config, dataset),
        "train": "any" if scored.dataset is None else datasets.label(config, scored.dataset),
        "method": method,
        "backbone": backbone,
        "output": "h" if scored.kind in BRACKETED else "map",
    }
    measured, threshold = split_task(task)
    if measured == "bbox_accuracy" and scored.kind not in SUPERVISED:
        found["box_threshold"] = threshold or config["grounding"]["box_threshold"]
    if scored.training is not None:
        variant = scored.training.variant
        found |= {
            "variant": variant,
            "ablation": config["tables"]["table5"]["ablations"].get(variant, variant),
            "seed": scored.training.seed,
        }
    return found


def caption_labels(config: Config, dataset: str, maps: str, task: str) -> dict[str, object]:
    """What a score of captions is of: as of phrases on these maps, without the ablation's row."""
    labels = phrase_labels(config, dataset, maps, task)
    return {key: value for key, value in labels.items() if key != "ablation"}
