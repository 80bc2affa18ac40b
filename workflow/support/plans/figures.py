"""What figures show, and where it lies."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..artifacts import Training, detector_boxes, refined_backbone
from ..command_line import options
from ..given_files import without
from ..sections import METHOD_KEYS, Config, backbone_of, heuristic
from ..variants import trainings
from . import datasets, grounding
from .discovery_tables import before_and_after
from .proposals import meta_files


def sheet_of_table4(config: Config) -> str:
    """The contact sheet before and after refinement, for the first of Table 4's trainings."""
    table = config["tables"]["table4"]
    first = trainings(config, table["datasets"], table["methods"], table["variant"])[0]
    return f"{first.folder(backbone_of(config, table, first.method))}/boxes.png"


def risk_coverage(config: Config) -> dict[str, list[str]]:
    """Metrics and boxes of Table 4's methods, on f and on the first seed's f^h."""
    folders = [
        f"results/{t.dataset}/{backbone}/{t.method}"
        for t, backbone in before_and_after(config, config["tables"]["table4"]["methods"])
        if t.seed == config["seeds"][0]
    ]
    boxes = [f"{folder}/boxes.json" for folder in folders]
    metrics = [f"{folder}/metrics.json" for folder in folders]
    return {"metrics": metrics, "boxes": boxes, "meta": meta_files(boxes)}


def refined_boxes(base: str, training: Training) -> dict[str, Any]:
    """f's own boxes, those of f^h and those of h."""
    folder, method = f"results/{training.dataset}", training.method
    boxes = {
        "before": f"{folder}/{base}/{method}/boxes.json",
        "after": f"{folder}/{refined_backbone(base, training)}/{method}/boxes.json",
        "detector": f"{folder}/{base}/{detector_boxes(training)}/boxes.json",
    }
    return {**boxes, "meta": meta_files(boxes.values())}


def names_of_refined_boxes(config: Config, base: str, method: str) -> str:
    """The option for what the boxes of `refined_boxes` are called in a figure, in that order."""
    label = heuristic(config, base, method)["label"]
    return options({"names": [f"{label}, f", f"{label}, f^h", "h"]})


def map_panels(config: Config, name: str) -> list[dict[str, Any]]:
    """The columns of a figure of maps, for the first seed: each heuristic on f and on f^h."""
    figure, panels = config["figures"]["maps"][name], []
    for method, base in figure["methods"].items():
        first = trainings(config, [figure["dataset"]], [method], figure["variant"])[0]
        networks = {"f": base, "f^h": refined_backbone(base, first)}
        for network, backbone in networks.items():
            folder = f"results/{figure['dataset']}/{backbone}"
            section = heuristic(config, base, method)
            cad = figure["cad"] and figure["cad"].format(**asdict(first))
            panels.append(
                {
                    "title": section["label"],
                    "network": network,
                    "method": method,
                    "features": f"{folder}/features/{{shard}}.h5",
                    "shards": datasets.count_shards(config, figure["dataset"]),
                    "boxes": f"{folder}/{method}/boxes.json",
                    **({"cad": f"{folder}/{cad}/boxes.json"} if cad else {}),
                    **without(section, *METHOD_KEYS),
                }
            )
    return panels


def map_files(config: Config, name: str) -> dict[str, Any]:
    """The index, the features and the boxes that a figure of maps shows."""
    figure, panels = config["figures"]["maps"][name], map_panels(config, name)
    dataset = figure["dataset"]
    boxes = [panel[key] for panel in panels for key in ("boxes", "cad") if key in panel]
    return {
        **datasets.files(config, dataset),
        "features": [
            file
            for panel in panels
            for file in datasets.of_shards(config, dataset, panel["features"])
        ],
        "boxes": boxes,
        "meta": meta_files(boxes),
        **_phrase_files(config, figure["phrase"]),
    }


def _phrase_files(config: Config, shown: dict[str, Any] | None) -> dict[str, Any]:
    """What the lower row of a figure of maps shows: a phrase by g and g^h, if there is one."""
    if shown is None:
        return {}
    files = grounding.g_and_refined(config, shown)
    return {f"phrase_{kind}": found for kind, found in files.items()}


def map_options(config: Config, name: str) -> str:
    """The options by which a figure of maps is drawn."""
    figure = config["figures"]["maps"][name]
    panels = (
        options({"panel": [f"{key}={value}" for key, value in panel.items()]})
        for panel in map_panels(config, name)
    )
    chosen = options({key: figure[key] for key in ("count", "seed", "image_ids", "width")})
    return " ".join([*panels, chosen])
