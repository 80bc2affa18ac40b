"""What each job of phrase grounding reads, and by which options.

g is trained on one dataset (or its weights are given), and h on the maps that g draws of that
dataset's texts; g^h draws maps like any other g. grounding_names.py has the names in paths.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from .. import given_files
from ..artifacts import GROUNDING, Training
from ..command_line import options
from ..given_files import given_file, optional_file, without, without_file
from ..grounding_names import (
    CONTROLS,
    SUPERVISED,
    UNTRAINED,
    maps_of_g,
    split_scored,
    split_task,
)
from ..sections import Config, grounding_section
from ..variants import grounding_trainings
from . import datasets
from .labels import label_options, phrase_labels
from .proposals import meta_files


def clip_file(config: Config) -> str | list[str]:
    """The file of CLIP's weights, or nothing where open_clip downloads them."""
    weights = config["grounding"]["clip"]["clip"]
    of_file = weights.endswith((".safetensors", ".pt", ".pth", ".bin"))
    return given_file(weights) if of_file else []


def clip_section(config: Config) -> dict[str, Any]:
    """What else tells a stage which CLIP to use."""
    section = config["grounding"]["clip"]
    return {**section, "clip": None} if clip_file(config) else section


def grounder_init_file(config: Config) -> str | list[str]:
    """The file that g starts from, or nothing."""
    return given_files.weights_file(config["grounding"]["grounder"].get("init"))


def grounder_options(config: Config) -> str:
    """The options by which g is trained, but for that file."""
    return options(without_file(config["grounding"]["grounder"], "init"))


def grounder_file(config: Config, dataset: str) -> str:
    """g that was trained on a dataset: configured, or trained here.

    Raises:
        SystemExit: maps of CLIP alone stand for it; that ends the run with the line that says so.
    """
    given = config["grounding"]["weights"].get(dataset)
    if given in UNTRAINED:
        sys.exit(
            f"grounding.weights.{dataset}: {given} has no weights, so that there is no g to refine;"
            f" its own maps lie under {given}"
        )
    if given is not None:
        return given_file(given)
    return f"results/{dataset}/grounding/grounder.safetensors"


def map_source(config: Config, maps: str) -> str | list[str]:
    """The weights that draw heatmaps; none for CLIP alone."""
    kind, dataset, training = split_scored(maps)
    if training is not None:
        return f"{training.folder(GROUNDING)}/refined.safetensors"
    return [] if kind in UNTRAINED else grounder_file(config, dataset)


def map_source_options(maps: str) -> str:
    """How extract_heatmaps.py is told what kind they are."""
    return options({"source": UNTRAINED.get(maps, "g")})


def heatmap_options(config: Config) -> str:
    """Options of every heatmap: CLIP, and sizes."""
    return options(clip_section(config), config["grounding"]["heatmaps"])


def classifier_file(config: Config) -> str | list[str]:
    """The file of a classifier's weights, or nothing."""
    return optional_file(config["grounding"]["classifier"]["classifier_weights"])


def classifier_options(config: Config) -> str:
    """Options of the classifier's maps, which are of the size of all others."""
    given = without(config["grounding"]["classifier"], "label", "classifier_weights")
    return options(given, {"size": config["grounding"]["heatmaps"]["size"]})


def contour_options(config: Config, threshold: str | None = None) -> str:
    """How boxes are made of maps; by the configured threshold where none is named."""
    return options(_contours(config, threshold))


def _contours(config: Config, threshold: str | None = None) -> dict[str, Any]:
    settings = config["grounding"]
    return {
        "nms_boxes": settings["nms_boxes"],
        "box_threshold": threshold or settings["box_threshold"],
    }


def detector_init_file(config: Config, variant: str) -> str | list[str]:
    """The file that h starts from, or nothing."""
    return given_files.weights_file(grounding_section(config, "detector", variant).get("init"))


def detector_options(config: Config, variant: str) -> str:
    """The options by which h is trained, but for that file."""
    return options(
        without_file(grounding_section(config, "detector", variant), "init"),
        grounding_section(config, "loss_weights", variant),
    )


def refinement_options(config: Config, variant: str) -> str:
    """The options by which g is refined."""
    return options(
        grounding_section(config, "refinement", variant),
        grounding_section(config, "loss_weights", variant),
        _contours(config),
    )


def bracketed_maps(config: Config, dataset: str, bracketed: str, taught: str) -> str:
    """The maps that h reads to be scored itself: g's, or as `hgh` those of g^h."""
    of_g = maps_of_g(config, Training.parse(taught).dataset)
    maps = f"gh.{taught}" if bracketed == "hgh" else of_g
    return f"results/{dataset}/grounding/{maps}/heatmaps.h5"


def scored_file(folder: str, name: str, task: str) -> dict[str, str]:
    """What evaluate.py is given of what is scored: heatmaps or boxes; nothing for a control.

    Args:
        folder: of phrases, results/{dataset}/grounding, or of captions, results/{dataset}/wwbl.
    """
    if name in CONTROLS:
        return {}
    measured, threshold = split_task(task)
    if measured == "pointing_game" and name not in SUPERVISED:
        return {"heatmaps": f"{folder}/{name}/heatmaps.h5"}
    boxes = (
        f"{folder}/{name}/boxes.{threshold}.json" if threshold else f"{folder}/{name}/boxes.json"
    )
    return {"boxes": boxes, "meta": meta_files([boxes])[0]}


def scored_options(config: Config, dataset: str, name: str, task: str) -> str:
    """What is scored, and the labels that place it in tables."""
    return " ".join(
        [
            options({"control": name if name in CONTROLS else None}),
            target_options(config),
            label_options(phrase_labels(config, dataset, name, task)),
        ]
    )


def target_options(config: Config) -> str:
    """Which boxes are targets, and where a point has to lie."""
    section = config["grounding"]
    return options({key: section[key] for key in ("min_area", "counted", "targets")})


def g_and_refined(config: Config, figure: Mapping[str, Any]) -> dict[str, Any]:
    """An index of phrases, and the boxes and heatmaps of g and of g^h of the first seed."""
    folder = f"results/{figure['dataset']}/grounding"
    first = grounding_trainings(config, [figure["train"]], figure["variant"])[0]
    shown = [f"g.{figure['train']}", f"gh.{first}"]
    boxes = [f"{folder}/{name}/boxes.json" for name in shown]
    return {
        **datasets.files(config, figure["dataset"]),
        "boxes": boxes,
        "meta": meta_files(boxes),
        "heatmaps": [f"{folder}/{name}/heatmaps.h5" for name in shown],
    }


def figure3_options(config: Config) -> str:
    """The options by which figure 3 is drawn."""
    section = config["figures"]["phrases"]
    return options({key: section[key] for key in ("count", "columns", "seed")})
