"""Score a method against the ground truth of an index.

  --task corloc         the top box of each image: --boxes
  --task ap             COCO's average precision (AP50) of all boxes of each image: --boxes
  --task pointing_game  the highest point of the heatmap of each phrase: --heatmaps
  --task bbox_accuracy  the box around all boxes of each phrase: --boxes with phrase ids
  --task wwbl           the same two ("what is where by looking") of captions that no phrase asked
                        for: --heatmaps or --boxes of captions, and --matches, by which each phrase
                        has the caption that is nearest to it; without one it is a miss

The two before that also take --control random or center: a point, or a box, that is drawn uniformly
or lies in the middle. Tasks of phrases leave out target boxes below --min-area of the image (see
--counted), and score groups of phrases as well: by words, relational or plain, size of the target,
category.

Prints the score in percent and its counts, and writes them with the bootstrap 95 % interval and
the outcome of every image or phrase, which is what paired comparisons and tables are made from.
Intervals of phrases resample whole images.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import numpy as np

from bbr.captioning.matches import caption_targets, read_matches, through_captions
from bbr.command_line import cli
from bbr.command_line.run_options import LabelOptions
from bbr.data.index import Index, load_index
from bbr.data.phrases import index_phrases
from bbr.errors import InputError
from bbr.evaluation.average_precision import average_precision
from bbr.evaluation.controls import CONTROLS, control_points, control_unions
from bbr.evaluation.corloc import IOU_THRESHOLD, best_ious
from bbr.evaluation.groups import target_groups
from bbr.evaluation.phrase_metrics import (
    COUNTED,
    MIN_AREA,
    TARGETS,
    Target,
    Unit,
    evaluated_targets,
    heatmap_points,
    pointing_game,
    record_unions,
    require_phrases,
    union_ious,
)
from bbr.evaluation.statistics import bootstrap_interval
from bbr.options import option, recorded
from bbr.storage.boxes_json import box_xyxy, read_boxes, require_known_images, top_boxes
from bbr.storage.json_files import write_json
from bbr.storage.metrics_json import parse_labels
from bbr.storage.provenance import provenance

Outcomes = dict[str, list[Any]]

Matches = Mapping[Unit, Unit]

_RULES = ("counted", "targets", "undescribed")  # recorded where they are not the default

# What each task may score.
TASKS = {
    "corloc": ("boxes",),
    "ap": ("boxes",),
    "pointing_game": ("heatmaps", "control"),
    "bbox_accuracy": ("boxes", "control"),
    "wwbl": ("heatmaps", "boxes"),
}


@dataclass(frozen=True)
class Task:
    """What is scored."""

    task: str = option(help="see above", choices=tuple(TASKS))
    control: str | None = option(None, "what to score instead of a method", choices=CONTROLS)
    min_area: float = option(
        MIN_AREA,
        "of a phrase's boxes, as a share of the image; smaller ones are left out",
        min=0,
        below=1,
    )
    counted: str = option(
        "any_box",
        "phrases with such a box, and those boxes alone; or all boxes of phrases whose first is"
        " one, as WWbL's code has it",
        choices=COUNTED,
        later=True,
    )
    targets: str = option(
        "boxes",
        "where a point has to lie: in one of the boxes, or in their union, as in WWbL's code",
        choices=TARGETS,
        later=True,
    )
    undescribed: str = option(
        "miss",
        "of wwbl, phrases of images without a caption: misses, or left out as in WWbL's code",
        choices=("miss", "left_out"),
        later=True,
    )
    seed: int = option(0, "of --control random", min=0)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json with ground truth")
    output: Path = option(help="metrics.json")
    boxes: Path | None = option(None, "COCO results")
    heatmaps: Path | None = option(None, "heatmaps.h5")
    matches: Path | None = option(None, "matches.json, for --task wwbl")


def run(*, files: Files, options: Task, labels: LabelOptions) -> None:
    """Evaluate on the images or phrases of `index` and write `output`.

    Raises:
        InputError: the files are not what they should be or do not belong together.
    """
    named, dataset = parse_labels(labels.labels), load_index(files.index)
    _require_one_source(
        options.task, boxes=files.boxes, heatmaps=files.heatmaps, control=options.control
    )
    _require_matches(options.task, files.matches)
    parameters: dict[str, Any] = {"task": options.task, "labels": named}
    scores: dict[str, Any] = {}
    if options.task in _TASKS_OF_IMAGES:
        _require_ground_truth(dataset)
        outcomes, scores = _TASKS_OF_IMAGES[options.task](dataset, files.boxes)
    else:
        parameters |= {"min_area": options.min_area, "control": options.control}
        parameters |= {"seed": options.seed} if options.control == "random" else {}
        parameters |= {k: v for k, v in recorded(options).items() if k in _RULES}
        targets = evaluated_targets(dataset, options.min_area, options.counted)
        points = files.heatmaps is not None or options.task == "pointing_game"
        scores["metric"] = "pointing_game" if points else "bbox_accuracy"
        score_phrases = pointing_outcomes if points else accuracy_outcomes
        pairs = None if files.matches is None else read_matches(files.matches)
        if pairs is not None and options.undescribed == "left_out":
            known = {image_id for image_id, _ in pairs}
            kept = [target for target in targets if target.unit[0] in known]
            scores["undescribed"] = len(targets) - len(kept)
            targets = _require_some(kept, files.matches)
        outcomes = score_phrases(dataset, targets, files.heatmaps or files.boxes, options, pairs)
        scores["groups"] = _scores_by_group(outcomes, target_groups(dataset, targets))
    inputs = {
        "index": files.index,
        "boxes": files.boxes,
        "heatmaps": files.heatmaps,
        "matches": files.matches,
    }
    metrics = {
        "task": options.task,
        "labels": named,
        **_score(outcomes["correct"], outcomes["image_id"]),
        **scores,
        "outcomes": outcomes,
        "provenance": provenance("evaluate", parameters, inputs),
    }
    write_json(files.output, metrics)
    print(f"{metrics['score']:.2f} ({metrics['correct']} of {metrics['count']})")


def _require_some(targets: list[Target], matches: Path | None) -> list[Target]:
    if not targets:
        raise InputError(f"{matches}: no image has a caption: there is nothing to score")
    return targets


def _require_one_source(task: str, **sources: Path | str | None) -> None:
    given = [name for name, source in sources.items() if source is not None]
    if len(given) != 1 or given[0] not in TASKS[task]:
        wanted = " or ".join(f"--{name}" for name in TASKS[task])
        found = " and ".join(f"--{name}" for name in given) or "none"
        raise InputError(f"--task {task} needs {wanted}, and has {found}")


def _require_matches(task: str, matches: Path | None) -> None:
    if (task == "wwbl") != (matches is not None):
        raise InputError("--task wwbl needs --matches FILE, and no other task takes it")


def _require_ground_truth(index: Index) -> None:
    if not any(len(index.boxes_xyxy(image["id"])) for image in index.images):
        raise InputError("the index has no ground-truth boxes: there is nothing to score against")


def corloc_outcomes(index: Index, boxes: Path) -> tuple[Outcomes, dict[str, Any]]:
    """Whether the top box of each image has IoU 0.5 or more with an object."""
    truth = {image["id"]: index.boxes_xyxy(image["id"]) for image in index.images}
    records = read_boxes(boxes)
    require_known_images(records, truth, boxes)
    ious = best_ious({i: box_xyxy(record) for i, record in top_boxes(records).items()}, truth)
    return {"image_id": list(truth), **_by_iou(ious)}, {}


def ap_outcomes(index: Index, boxes: Path) -> tuple[Outcomes, dict[str, Any]]:
    """Whether any object of an image was found, and AP50 of all boxes, whatever their class."""
    records = read_boxes(boxes)
    image_ids = sorted(image["id"] for image in index.images)
    require_known_images(records, set(image_ids), boxes)
    found = average_precision(index, records)
    outcomes = {
        "image_id": image_ids,
        "correct": [int(count > 0) for count in found.found],
        "objects": found.objects,
        "found": found.found,
    }
    scores = {"score": found.ap50, "ap": found.ap, "ap75": found.ap75}
    return outcomes, scores | {"interval": list(found.interval)}


# Tasks of images: each gives the outcomes, and scores besides the share of those that are correct.
_TASKS_OF_IMAGES = {"corloc": corloc_outcomes, "ap": ap_outcomes}


def pointing_outcomes(
    index: Index,
    targets: list[Target],
    heatmaps: Path | None,
    options: Task,
    matches: Matches | None = None,
) -> Outcomes:
    """Whether the point of each phrase, or of its caption, lies in its target."""
    if options.control is not None:
        points = control_points(targets, options.control, options.seed)
    else:
        from bbr.grounding.heatmaps_h5 import (
            HeatmapFile,  # here, since scoring boxes does without HDF5
        )

        asked = targets if matches is None else caption_targets(targets, matches)
        with HeatmapFile(heatmaps) as file:
            points = heatmap_points(asked, file)
        points = points if matches is None else through_captions(points, matches)
    return {**_units(targets), "correct": pointing_game(targets, points, options.targets)}


def accuracy_outcomes(
    index: Index,
    targets: list[Target],
    boxes: Path | None,
    options: Task,
    matches: Matches | None = None,
) -> Outcomes:
    """Whether the union of each phrase's, or caption's, boxes has IoU 0.5 with its targets'."""
    if options.control is not None:
        unions = control_unions(targets, options.control, options.seed)
    else:
        records = read_boxes(boxes)
        if matches is None:
            known = {(phrase.image_id, phrase.phrase_id) for phrase in index_phrases(index)}
            require_phrases(records, known, boxes)
        else:
            require_known_images(records, {image["id"] for image in index.images}, boxes)
        unions = record_unions(records)
        unions = unions if matches is None else through_captions(unions, matches)
    return {**_units(targets), **_by_iou(union_ious(targets, unions))}


def _units(targets: list[Target]) -> Outcomes:
    images, phrases = zip(*(target.unit for target in targets), strict=True)
    return {"image_id": list(images), "phrase_id": list(phrases)}


def _by_iou(ious: np.ndarray) -> Outcomes:
    return {
        "correct": (ious >= IOU_THRESHOLD).astype(int).tolist(),
        "iou": ious.round(6).tolist(),
    }


def _score(correct: list[int], image_ids: list[int]) -> dict[str, Any]:
    interval = bootstrap_interval(correct, groups=image_ids)
    return {
        "score": 100 * sum(correct) / len(correct),
        "interval": [100 * end for end in interval],
        "correct": sum(correct),
        "count": len(correct),
    }


def _scores_by_group(
    outcomes: Outcomes, groups: dict[str, list[str]]
) -> dict[str, dict[str, dict[str, Any]]]:
    pairs = list(zip(outcomes["correct"], outcomes["image_id"], strict=True))
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    for criterion, names in groups.items():
        scores[criterion] = {}
        for group in sorted(set(names)):
            of_group = [pair for pair, name in zip(pairs, names, strict=True) if name == group]
            correct, image_ids = map(list, zip(*of_group, strict=True))
            scores[criterion][group] = _score(correct, image_ids)
    return scores


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
