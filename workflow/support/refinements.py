"""Which backbones the configuration refines, on what, and where states are kept for them.

States (cache_states.py) are what the blocks that move read of every image. They are made where
`cache_states` of the backbone's section says so, for the datasets on which tables and the study
refine it or look at what came of it: elsewhere f runs once, and there is nothing to save.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Use:
    """f^h of a method and variant, refined from a base, is asked for on a dataset."""

    dataset: str
    base: str
    method: str
    variant: str


def uses(config: dict[str, Any]) -> Iterator[Use]:
    """Every f^h that tables 4 and 6 and the study ask for, in the configuration's order."""
    tables, study = config["tables"], config["study"]
    for name in ("table4", "table6"):
        if name in tables:
            table = tables[name]
            variants = table.get("ablations") or [table.get("variant", "default")]
            yield from _uses(config, table, table["datasets"], variants)
    looked_at = dict.fromkeys([*study["datasets"], *study["held_out"].values()])
    yield from _uses(config, study, looked_at, [study["variant"]])


def _uses(
    config: dict[str, Any], section: dict[str, Any], datasets: Any, variants: Any
) -> Iterator[Use]:
    for dataset in datasets:
        for method in section["methods"]:
            base = config["heuristics"][method].get("backbone", section["backbone"])
            for variant in variants:
                yield Use(dataset, base, method, variant)


def refinement_section(config: dict[str, Any], method: str, variant: str) -> dict[str, Any]:
    """`refinement` as a method and a variant have it."""
    return {
        **config["refinement"],
        **config["heuristics"][method].get("refinement", {}),
        **config["variants"][variant]["refinement"],
    }


def states_left(
    config: dict[str, Any],
    dataset: str,
    base: str,
    method: str | None = None,
    variant: str | None = None,
) -> int | None:
    """How many blocks the states that a job reads leave to run; None where it reads none.

    Args:
        method, variant: of f^h; None for f itself, which reads the states of the first f^h.
    """
    if not config["backbones"][base].get("cache_states", False):
        return None
    for use in uses(config):
        if (use.dataset, use.base) == (dataset, base) and (
            method is None or (use.method, use.variant) == (method, variant)
        ):
            left = refinement_section(config, use.method, use.variant).get("trainable_blocks", 0)
            if left:  # 0 is all of them, and states are then next to nothing
                return left
    return None


def is_of_squares(config: dict[str, Any], dataset: str, side: int) -> bool:
    """Whether all images of a dataset are known to be squares of so many pixels."""
    section = config["datasets"][dataset]
    return section["format"] == "scenes" and section["size"] == side
