"""The tasks: what each may score and by which rules, and the score of those of phrases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.index import Index
from ..errors import InputError
from ..options import option, recorded
from .controls import CONTROLS, control_points, control_unions
from .groups import target_groups
from .matches import read_matches
from .outcomes import (
    Outcomes,
    accuracy_outcomes,
    box_centers,
    find_points,
    find_unions,
    pointing_outcomes,
    scores_by_group,
)
from .phrase_metrics import COUNTED, MIN_AREA, TARGETS, Target, evaluated_targets

_RULES = ("counted", "targets", "undescribed")  # recorded where they are not the default

# What each task may score.
TASKS = {
    "corloc": ("boxes",),
    "ap": ("boxes",),
    "mask_iou": ("boxes",),
    "mask_ap": ("boxes",),
    "pointing_game": ("heatmaps", "boxes", "control"),
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

    def recorded(self) -> dict[str, Any]:
        """What the provenance says of a task of phrases."""
        rules = {name: value for name, value in recorded(self).items() if name in _RULES}
        seed = {"seed": self.seed} if self.control == "random" else {}
        return {"min_area": self.min_area, "control": self.control, **seed, **rules}


def score_phrases(
    index: Index,
    options: Task,
    boxes: Path | None = None,
    heatmaps: Path | None = None,
    matches: Path | None = None,
) -> tuple[Outcomes, dict[str, Any]]:
    """Outcomes of a task of phrases, and scores besides the share of those that are correct.

    Args:
        boxes, heatmaps: what is scored, but for a control.
        matches: by which captions stand for phrases, where they do.

    Raises:
        InputError: a file is not what it should be or is of another index, or nothing is left to
            score.
    """
    targets = evaluated_targets(index, options.min_area, options.counted)
    by_points = heatmaps is not None or options.task == "pointing_game"
    scores: dict[str, Any] = {"metric": "pointing_game" if by_points else "bbox_accuracy"}
    pairs = None if matches is None else read_matches(matches)
    if pairs is not None and options.undescribed == "left_out":
        known = {image_id for image_id, _ in pairs}
        described = [target for target in targets if target.unit[0] in known]
        if not described:
            raise InputError(f"{matches}: no image has a caption: there is nothing to score")
        scores["undescribed"] = len(targets) - len(described)
        targets = described
    if heatmaps is not None:
        points = find_points(targets, heatmaps, pairs)
        outcomes = pointing_outcomes(targets, points, options.targets)
    elif boxes is not None and by_points:
        outcomes = pointing_outcomes(targets, box_centers(index, boxes), options.targets)
    elif boxes is not None:
        outcomes = accuracy_outcomes(targets, find_unions(index, boxes, pairs))
    else:
        outcomes = _control_outcomes(targets, options)
    scores["groups"] = scores_by_group(outcomes, target_groups(index, targets))
    return outcomes, scores


def _control_outcomes(targets: list[Target], options: Task) -> Outcomes:
    assert options.control is not None, "a task has one source"
    if options.task == "pointing_game":
        points = control_points(targets, options.control, options.seed)
        return pointing_outcomes(targets, points, options.targets)
    return accuracy_outcomes(targets, control_unions(targets, options.control, options.seed))


def require_one_source(task: str, **sources: Path | str | None) -> None:
    """Check that what is to be scored is given once, and is what the task can score.

    Raises:
        InputError: it is not.
    """
    given = [name for name, source in sources.items() if source is not None]
    if len(given) != 1 or given[0] not in TASKS[task]:
        wanted = " or ".join(f"--{name}" for name in TASKS[task])
        found = " and ".join(f"--{name}" for name in given) or "none"
        raise InputError(f"--task {task} needs {wanted}, and has {found}")


def require_matches(task: str, matches: Path | None) -> None:
    """Check that captions are matched with phrases where they stand for them, and only there.

    Raises:
        InputError: they are not.
    """
    if (task == "wwbl") != (matches is not None):
        raise InputError("--task wwbl needs --matches FILE, and no other task takes it")
