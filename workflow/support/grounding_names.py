"""Names of phrase grounding's artifacts, below results/{dataset}/grounding/.

{maps}    what draws heatmaps: CLIP alone, by relevancy (gae), maskclip or gem; g.{trained on}, or
          g^h as gh.{taught}
{drawn}   {maps}, or training: what g draws of its own training texts
{scored}  what is scored: {maps}, the boxes of h on g's maps as h.{taught}, on those of g^h as
          hgh.{taught}, a classifier's maps as td, random or center, or {supervised}
{supervised} a network that learned from boxes of phrases, which gives boxes alone
{taught}  how h was trained and g refined: {trained on}.{variant}.{seed}
{task}    pointing_game or bbox_accuracy, the latter from boxes.json, whose threshold is
          configured; or bbox_accuracy.{threshold}, from boxes.{threshold}.json
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .artifacts import Training, one_of

# CLIP alone, and what extract_heatmaps.py calls its source
UNTRAINED = {"gae": "relevancy", "maskclip": "maskclip", "gem": "gem"}
TD = "td"
SUPERVISED = {"grounding_dino": "Grounding DINO", "owlv2": "OWLv2", "sam3": "SAM 3"}
CONTROLS = ("random", "center")
BRACKETED = ("h", "hgh")
TASKS = ("pointing_game", "bbox_accuracy")
THRESHOLDS = ("minmax", "absolute", "cubehelix")
_STUDIED = ("minmax", "absolute")  # cubehelix hardly differs from minmax


class Scored(NamedTuple):
    """What a name of maps or boxes says.

    kind: gae, maskclip, gem, td, random, center, one of `SUPERVISED`, g, gh, h or hgh.
    dataset: the one that g was trained on; none of what is no g.
    training: how h was trained, which refined g or whose boxes they are; none of g itself.
    """

    kind: str
    dataset: str | None
    training: Training | None


def split_scored(name: str) -> Scored:
    """Take a name apart."""
    kind, _, rest = name.partition(".")
    if not rest:
        return Scored(kind, None, None)
    if kind == "g":
        return Scored(kind, rest, None)
    training = Training.parse(rest)
    return Scored(kind, training.dataset, training)


def maps_of_g(config: Mapping[str, Any], dataset: str) -> str:
    """The {maps} of g that was trained on a dataset, or of CLIP alone where that stands for it.

    Args:
        dataset: may be a name of CLIP's maps itself.
    """
    given = config["grounding"]["weights"].get(dataset, dataset)
    return given if given in UNTRAINED else f"g.{dataset}"


def split_task(name: str) -> tuple[str, str | None]:
    """(task, threshold of the boxes where it is named)."""
    task, _, threshold = name.partition(".")
    return task, threshold or None


def study_tasks(threshold: str) -> list[str]:
    """Both metrics, and box accuracy by the thresholds of the study that are not configured."""
    others = [other for other in _STUDIED if other != threshold]
    return [*TASKS, *(f"bbox_accuracy.{other}" for other in others)]


def wildcard_patterns(datasets: Iterable[str], variants: Iterable[str]) -> dict[str, str]:
    """The regular expression of each wildcard, from the names that are configured."""
    dataset, variant = one_of(datasets), one_of(variants)
    taught = rf"(?:{dataset})\.(?:{variant})\.\d+"
    alone = (TD, *CONTROLS, *SUPERVISED)
    maps = rf"{'|'.join(UNTRAINED)}|g\.(?:{dataset})|gh\.{taught}"
    return {
        "taught": taught,
        "threshold": one_of(THRESHOLDS),
        "task": rf"{one_of(TASKS)}|bbox_accuracy\.(?:{one_of(THRESHOLDS)})",
        "bracketed": one_of(BRACKETED),
        "lesson": variant,
        "maps": maps,
        "drawn": rf"{maps}|training",
        "supervised": one_of(SUPERVISED),
        "scored": rf"{maps}|(?:{one_of(BRACKETED)})\.{taught}|{one_of(alone)}",
    }
