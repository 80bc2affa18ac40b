"""Pairs of metrics: before refinement and after."""

from __future__ import annotations

from ..artifacts import GROUNDING, Training, split_backbone


def boxes(dataset: str, backbone: str, name: str) -> dict[str, str]:
    """Metrics of boxes of this name on f and on f^h, `backbone`."""
    base, _ = split_backbone(backbone)
    return {
        "baseline": f"results/{dataset}/{base}/{name}/metrics.json",
        "candidate": f"results/{dataset}/{backbone}/{name}/metrics.json",
    }


def phrases(dataset: str, taught: str, task: str, kind: str = GROUNDING) -> dict[str, str]:
    """Metrics of g and of g^h; `kind` says whether of phrases or, as wwbl, of captions."""
    folder = f"results/{dataset}/{kind}"
    return {
        "baseline": f"{folder}/g.{Training.parse(taught).dataset}/{task}.json",
        "candidate": f"{folder}/gh.{taught}/{task}.json",
    }
