"""Groups of phrases that are scored on their own as well: by words, kind, size and category."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..data.index import Index
from .phrase_metrics import Target

# Words for places and parts: a phrase that has one tells its target by something else.
_RELATIONAL = {
    "left",
    "right",
    "above",
    "below",
    "behind",
    "under",
    "beneath",
    "over",
    "beside",
    "near",
    "next",
    "front",
    "between",
    "inside",
    "on",
    "in",
    "at",
    "by",
    "with",
    "of",
    "top",
    "bottom",
    "middle",
    "holding",
    "wearing",
}


def _word_count(target: Target) -> str:
    words = len(target.phrase.texts[0].split())
    return "1-2" if words <= 2 else "3-4" if words <= 4 else "5 or more"


def _kind(target: Target) -> str:
    words = target.phrase.texts[0].lower().split()
    return "relational" if _RELATIONAL.intersection(words) else "plain"


def _size(target: Target) -> str:
    return (
        "below 15 %" if target.share < 0.15 else "15-40 %" if target.share < 0.4 else "above 40 %"
    )


def target_groups(index: Index, targets: list[Target]) -> dict[str, list[str]]:
    """The group of each target by several criteria.

    words: how many the first text of the phrase has; kind: relational if one of them is of a short
    list of words for places and parts, else plain; size: the share of the image that the box around
    its targets takes; category: where the index has several.
    """
    criteria: dict[str, Callable[[Target], str]] = {
        "words": _word_count,
        "kind": _kind,
        "size": _size,
    }
    names: dict[Any, str] = {c.get("id"): str(c.get("name")) for c in index.categories}
    if len({target.phrase.category_id for target in targets}) > 1:
        criteria["category"] = lambda t: names.get(t.phrase.category_id, str(t.phrase.category_id))
    return {name: [group(target) for target in targets] for name, group in criteria.items()}
