"""What results/facets.csv is made of."""

from __future__ import annotations

from ..command_line import options
from ..sections import Config
from . import datasets, labels


def swept(config: Config) -> dict[str, list[str]]:
    """The indexes and the boxes of each sweep, in the order of their rows."""
    section = config["facets"]
    places = [(d, b) for d in section["datasets"] for b in section["backbones"]]
    return {
        "index": [datasets.files(config, dataset)["index"] for dataset, _ in places],
        "boxes": [f"results/{dataset}/{base}/swept_boxes.h5" for dataset, base in places],
    }


def sweep_options(config: Config, dataset: str, base: str) -> str:
    """What is swept, how features are rounded, and what the numbers are of."""
    section = {key: config["facets"][key] for key in ("methods", "facets", "blocks")}
    named = labels.label_options({"dataset": datasets.label(config, dataset), "backbone": base})
    return f"{options(section, config['discovery']['features'])} {named}"
