"""What is shown of the user's own photographs, results/mine."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .. import estimate
from ..artifacts import Training, cad_boxes, refined_backbone
from ..command_line import options
from ..configuration import MINE
from ..fingerprints import RECORDS
from ..given_files import optional_file
from ..grounding_names import maps_of_g
from ..references import patch_heuristics
from ..sections import Config, refinement_section
from . import datasets, proposals

EXPORTS = ("coco", "yolo", "labelme", "fiftyone")
_SMALL_CAD = "tf_efficientnet_lite0"
_CAD_WARNING = (
    "cad=true: boxes of photographs were worse by this small CAD than without it"
    " (docs/results-discovery.md#cad-on-photographs); the paper's is in workflow/configs/paper.yaml"
)
_MIN_IMAGES = 50  # of which a fifth is set aside, to tell whether f^h fell apart


def boxes(config: Config) -> dict[str, Any]:
    """The index and the boxes of the photographs; with `refine` also f's own, and f^h.

    Raises:
        SystemExit: they are not named; that ends the run with the line that says so.
    """
    _need(config, "results/mine needs your photographs: add --config images=PATH, their folder")
    base, method = config["backbone"], config["method"]
    named = cad_boxes(method, config["seeds"][0]) if config["refine_cad"] else method
    if not config["refine"]:
        return {**datasets.files(config, MINE), **_boxes(f"results/{MINE}/{base}/{named}")}
    if method not in patch_heuristics([method]):
        sys.exit(f"refine=true: h reads maps of f, which method {method} has none of")
    _refuse_few(config)
    training = Training(MINE, "default", config["seeds"][0], method)
    own = f"results/{MINE}/{base}/{method}"
    # Of states that were compared, what came of it is printed.
    compared = refinement_section(config, base, method)["select"] != "last"
    return {
        **datasets.files(config, MINE),
        **_boxes(f"results/{MINE}/{refined_backbone(base, training)}/{named}"),
        "before": f"{own}/boxes.json",
        "meta_before": f"{own}/boxes.meta.json",
        **({"refined": f"{training.folder(base)}/refined.safetensors"} if compared else {}),
    }


def _refuse_few(config: Config) -> None:
    """End the run with one line where there are too few photographs to learn from.

    Files that turn out to be unreadable still count here; h then refuses the rest. An empty folder
    is refused when it is indexed.
    """
    record = datasets.source_files(config, MINE).get("record")
    least = config["discovery"]["detector"].get("min_images") or _MIN_IMAGES
    if isinstance(record, str) and Path(record).is_file():
        count = len(estimate.photographs(Path(record)))
        if 0 < count < least:
            sys.exit(
                f"refine=true: {count} photographs, and h learns nothing that holds from fewer than"
                f" {least}; take f's boxes as they are (without refine=true)"
            )


def page(config: Config) -> dict[str, Any]:
    """The index and the boxes of the photographs as `results/mine` has them; and f's own.

    Raises:
        SystemExit: the photographs are not named.
    """
    left_out = ("refined",)  # of which the sheet's job tells
    kept = {key: path for key, path in boxes(config).items() if key not in left_out}
    return {**kept, **_boxes(f"results/{MINE}")}


def announce(config: Config, jobs: Iterable[Any], cores: int | None) -> None:
    """Say on stderr how many photographs there are, and how long their boxes will take.

    Nothing, where their features are not among the jobs.
    """
    record = Path(RECORDS, f"{MINE}.json")
    if config["images"] is None or not estimate.will_extract(jobs, config["backbone"]):
        return
    if record.is_file():
        names = estimate.photographs(record)
        print(estimate.line(config, names, cores), file=sys.stderr, flush=True)
    if config["refine_cad"] and config["cad"]["training"]["network"] == _SMALL_CAD:
        print(_CAD_WARNING, file=sys.stderr, flush=True)
    if config["refine_cad"] and config["masks"]:
        print("masks=true: boxes of CAD have none", file=sys.stderr, flush=True)


def conclude(jobs: Iterable[Any]) -> None:
    """Say on stderr where these jobs have put what there is to look at; nothing of other jobs."""
    made = [str(path) for job in jobs for path in job.output]
    hidden = (".meta.json", "/thumbnails")
    shown = [p for p in made if p.startswith(f"results/{MINE}/") and not p.endswith(hidden)]
    if shown:
        print(f"your photographs: {', '.join(shown)}", file=sys.stderr, flush=True)


def box_names(config: Config) -> str:
    """The option for what the boxes are called in the sheet: f's, if there are others, first."""
    label, cad = config["heuristics"][config["method"]]["label"], " + CAD"
    names = [f"{label}, f", f"{label}, f^h"] if config["refine"] else [label]
    names[-1] += cad if config["refine_cad"] else ""
    return options({"names": names})


def fewest_images(config: Config, dataset: str) -> str:
    """The option by which h refuses a handful of photographs; any other dataset is as it is.

    It stands before the configured options, of which `min_images` then has the last word.
    """
    return options({"min_images": _MIN_IMAGES}) if dataset == MINE else ""


def reuse(dataset: str, code: Sequence[str]) -> str:
    """The option by which photographs that are as they were are not seen again.

    Not of any other dataset: tables are to have the same bytes whatever was computed before.

    Args:
        code: the record of the stage's code; empty where code is not tracked.
    """
    return options({"reuse": code}) if dataset == MINE and code else ""


def clusters(config: Config) -> dict[str, Any]:
    """The photographs, all of their boxes, and features to sort them by.

    Boxes below `min_score` too, which exports leave out: it does not change what a cluster is.

    Raises:
        SystemExit: the photographs are not named, or not how many clusters.
    """
    _need(
        config,
        "results/mine/clusters.json needs your photographs, and how many clusters to make: add"
        " --config images=PATH clusters=8",
        "clusters",
    )
    features = proposals.feature_files(config, MINE, config["cluster_backbone"])
    made = boxes(config)
    found = {key: made[key] for key in ("boxes", "meta")}
    return {**datasets.files(config, MINE), **found, "features": features}


def export_options(config: Config) -> str:
    """What is left out of an export, and how many classes there are."""
    least = max(config["min_score"], config["export"].get("min_score", 0))
    return options(config["export"], {"clusters": config["clusters"] or 1, "min_score": least})


def exported(config: Config, layout: str) -> dict[str, Any]:
    """The index and the boxes of the photographs as `results/mine` has them, and names of classes.

    Raises:
        SystemExit: the photographs are not named, or there is no such layout.
    """
    if layout not in EXPORTS:
        sys.exit(f"results/mine/export/{layout}: it is made as one of {', '.join(EXPORTS)}")
    _need(config, "results/mine/export needs your photographs: add --config images=PATH")
    names = optional_file(config["class_names"])
    boxes = _boxes(f"results/{MINE}", "clusters" if config["clusters"] else "boxes")
    found = {"index": datasets.files(config, MINE)["index"], **boxes}
    return {**found, "names": names} if names else found


def phrases(config: Config) -> dict[str, Any]:
    """The index, heatmaps and boxes of the photographs and phrases.

    Raises:
        SystemExit: one of the two is not named.
    """
    _need(
        config,
        "results/mine/grounding.json needs your photographs and what to look for in them: add"
        " --config images=PATH phrases=PATH, a text file of phrases, one a line",
        "phrases",
    )
    maps = f"results/{MINE}/grounding/{maps_of_g(config, config['grounding']['own'])}"
    index = datasets.files(config, MINE)["index"]
    return {"index": index, "heatmaps": f"{maps}/heatmaps.h5", **_boxes(maps)}


def descriptions(config: Config) -> dict[str, Any]:
    """What was found in the photographs.

    Raises:
        SystemExit: they are not named.
    """
    _need(config, "results/mine/descriptions needs your photographs: add --config images=PATH")
    folder = f"results/{MINE}/wwbl"
    maps = f"{folder}/{maps_of_g(config, config['grounding']['own'])}"
    return {
        "descriptions": f"{folder}/descriptions.json",
        "images": datasets.images(config, MINE),
        "heatmaps": f"{maps}/heatmaps.h5",
        **_boxes(maps),
    }


def _boxes(folder: str, name: str = "boxes") -> dict[str, str]:
    return {"boxes": f"{folder}/{name}.json", "meta": f"{folder}/{name}.meta.json"}


def _need(config: Config, message: str, *keys: str) -> None:
    if any(config[key] is None for key in ("images", *keys)):
        sys.exit(message)
