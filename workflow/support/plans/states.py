"""Which backbones the configuration refines, on what, and where states are kept for them.

States (cache_states.py) are what the blocks that move read of every image. They are made where
`cache_states` of the backbone's section says so, for the datasets on which tables and the study
refine it or look at what came of it: elsewhere f runs once, and there is nothing to save.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..artifacts import split_backbone
from ..sections import Config, backbone_of, refinement_section
from . import datasets, detectors


@dataclass(frozen=True)
class Use:
    """f^h of a method and variant, refined from a base, is asked for on a dataset."""

    dataset: str
    base: str
    method: str
    variant: str


def uses(config: Config) -> Iterator[Use]:
    """Every f^h that tables 4 and 6 and the study ask for, in the configuration's order."""
    tables, study = config["tables"], config["study"]
    for name in ("table4", "table6"):
        if name in tables:
            table = tables[name]
            variants = table.get("ablations") or [table.get("variant", "default")]
            yield from _uses(config, table, table["datasets"], variants)
    looked_at = dict.fromkeys([*study["datasets"], *study["held_out"].values()])
    yield from _uses(config, study, looked_at, study["variants"])


def _uses(config: Config, section: dict[str, Any], datasets: Any, variants: Any) -> Iterator[Use]:
    for dataset in datasets:
        for method in section["methods"]:
            base = backbone_of(config, section, method)
            for variant in variants:
                yield Use(dataset, base, method, variant)


def states_left(
    config: Config,
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
            section = refinement_section(config, base, use.method, use.variant)
            left = section.get("trainable_blocks", 0)
            if left:  # 0 is all of them, and states are then next to nothing
                return left
    return None


def is_of_squares(config: Config, dataset: str, side: int) -> bool:
    """Whether all images of a dataset are known to be squares of so many pixels."""
    section = config["datasets"][dataset]
    return section["format"] == "scenes" and section["size"] == side


def file(dataset: str, base: str, left: int, shard: int | str) -> str:
    """The states of one shard, which leave so many blocks to run."""
    return f"results/{dataset}/{base}/states/{left}.{shard}.h5"


def of_features(config: Config, dataset: str, backbone: str, shard: str) -> str | list[str]:
    """The states that f or f^h is extracted from, or nothing."""
    base, training = split_backbone(backbone)
    named = () if training is None else (training.method, training.variant)
    left = states_left(config, dataset, base, *named)
    return [] if left is None else file(dataset, base, left, shard)


def of_inputs(config: Config, dataset: str, backbone: str, inputs: str) -> list[str]:
    """The states that h's inputs are made from, of all shards, or nothing, as of f^h."""
    base, training = split_backbone(backbone)
    if training is not None:
        return []
    side = detectors.inputs_section(config, base, inputs)["image_size"]
    return _of_squares(config, dataset, base, side, states_left(config, dataset, base))


def of_refinement(config: Config, dataset: str, base: str, method: str, variant: str) -> list[str]:
    """The states that f^h is trained on, of all shards, or nothing."""
    section = refinement_section(config, base, method, variant)
    if section.get("augmentation", "none") != "none":
        return []
    inputs = detectors.inputs_name(config, method)
    side = detectors.inputs_section(config, base, inputs)["image_size"]
    left = states_left(config, dataset, base, method, variant)
    return _of_squares(config, dataset, base, side, left)


def _of_squares(config: Config, dataset: str, base: str, side: int, left: int | None) -> list[str]:
    # h reads squares of one size; states are of images as they are.
    if left is None or not is_of_squares(config, dataset, side):
        return []
    shards = range(datasets.count_shards(config, dataset))
    return [file(dataset, base, left, shard) for shard in shards]
