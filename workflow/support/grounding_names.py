"""Names of phrase grounding's artifacts, below results/{dataset}/grounding/.

{maps}    what draws heatmaps: gae (CLIP's relevancy), g.{trained on}, or g^h as gh.{taught}
{drawn}   {maps}, or training: what g draws of its own training texts
{scored}  what is scored: {maps}, the boxes of h as h.{taught}, a classifier's maps as td, random or
          center
{taught}  how h was trained and g refined: {trained on}.{variant}.{seed}
{task}    pointing_game or bbox_accuracy, the latter from boxes.json, whose threshold is
          configured; or bbox_accuracy.{threshold}, from boxes.{threshold}.json
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .artifacts import one_of

GAE = "gae"
TD = "td"
CONTROLS = ("random", "center")
TASKS = ("pointing_game", "bbox_accuracy")
THRESHOLDS = ("minmax", "absolute")
_WITH_THRESHOLD = "bbox_accuracy"


@dataclass(frozen=True)
class Teaching:
    """How a detector h was trained, and which g it taught afterwards."""

    dataset: str
    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset}.{self.variant}.{self.seed}"

    @classmethod
    def parse(cls, text: str) -> Teaching:
        """The inverse of `str`."""
        dataset, variant, seed = text.split(".")
        return cls(dataset, variant, int(seed))

    @property
    def folder(self) -> str:
        """Where h and g^h lie."""
        return f"results/{self.dataset}/grounding/{self.variant}/seed{self.seed}"


def split_scored(name: str) -> tuple[str, Teaching | None]:
    """(kind, how it was taught): kind is gae, td, random, center, g, gh or h.

    A g that was not refined has a Teaching of its dataset alone: variant "" and seed 0.
    """
    kind, _, rest = name.partition(".")
    if not rest:
        return kind, None
    return kind, Teaching(rest, "", 0) if kind == "g" else Teaching.parse(rest)


def split_task(name: str) -> tuple[str, str | None]:
    """(task, threshold of the boxes where it is named)."""
    task, _, threshold = name.partition(".")
    return task, threshold or None


def study_tasks(threshold: str) -> list[str]:
    """Both metrics, and box accuracy by the thresholds that are not configured."""
    others = [other for other in THRESHOLDS if other != threshold]
    return [*TASKS, *(f"{_WITH_THRESHOLD}.{other}" for other in others)]


def wildcard_patterns(datasets: Iterable[str], variants: Iterable[str]) -> dict[str, str]:
    """The regular expression of each wildcard, from the names that are configured."""
    dataset, variant = one_of(datasets), one_of(variants)
    taught = rf"(?:{dataset})\.(?:{variant})\.\d+"
    maps = rf"{GAE}|g\.(?:{dataset})|gh\.{taught}"
    return {
        "taught": taught,
        "lesson": variant,
        "maps": maps,
        "drawn": rf"{maps}|training",
        "threshold": "|".join(THRESHOLDS),
        "task": rf"{'|'.join(TASKS)}|{_WITH_THRESHOLD}\.(?:{'|'.join(THRESHOLDS)})",
        "scored": rf"{maps}|{TD}|h\.{taught}|{'|'.join(CONTROLS)}",
    }
