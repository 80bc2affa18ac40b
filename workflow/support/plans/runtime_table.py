"""Which jobs Table 7 counts, and where it is told how long they took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..artifacts import Training, refined_backbone
from ..command_line import options
from ..sections import Config, backbone_of
from ..variants import surrogate_file, training_of_h, trainings
from . import datasets, detectors, states
from .proposals import meta_files

# The rules whose jobs are counted.
RULES = (
    "cache_states",
    "extract_features",
    "pseudo_boxes",
    "pseudo_boxes_of_shard",
    "cache_detector_inputs",
    "train_detector",
    "train_surrogate",
    "refine_backbone",
)


class Timed(NamedTuple):
    """The output and the benchmark file of a rule, with wildcards in braces."""

    artifact: str
    benchmark: str


def jobs(config: Config, rules: Mapping[str, Timed]) -> list[dict[str, Any]]:
    """What is counted; files of several shards are one entry, and have {shard} in their name.

    Args:
        rules: `RULES`, as the workflow has them.

    Returns:
        Dictionaries of network, task, dataset, stage, artifact, benchmark, shards and seed.
    """
    table, found = config["tables"]["table4"], {}
    for training in trainings(config, table["datasets"], table["methods"], table["variant"]):
        for network, rule, seed, wildcards in _steps(config, table, training):
            job = {
                "network": network,
                "task": f"object discovery, {config['heuristics'][training.method]['label']}",
                "dataset": datasets.label(config, training.dataset),
                "stage": rule,
                **_files(config, rules[_by_parts(config, rule, training.dataset)], wildcards),
                "seed": seed,
            }
            found[tuple(job.values())] = job
    return list(found.values())


def _steps(
    config: Config, table: Mapping[str, Any], training: Training
) -> Iterator[tuple[str, str, int | str, dict[str, Any]]]:
    """(network, rule, seed, wildcards) of each step of a training; those without a seed share."""
    base = backbone_of(config, table, training.method)
    refined, seed = refined_backbone(base, training), training.seed
    place = {"dataset": training.dataset, "base": base, "method": training.method, "seed": seed}
    shared = {**place, "variant": training_of_h(config, training).variant}
    inputs = detectors.inputs_name(config, training.method)
    left = states.states_left(config, training.dataset, base)
    if left is not None:
        yield "h", "cache_states", "", {**place, "left": left}
    yield "h", "extract_features", "", {**place, "backbone": base}
    yield "h", "pseudo_boxes", "", {**place, "backbone": base}
    yield "h", "cache_detector_inputs", "", {**place, "backbone": base, "inputs": inputs}
    yield "h", "train_detector", seed, shared
    if surrogate_file(config, base, training):
        yield "h", "train_surrogate", seed, shared
    yield "f^h or g^h", "refine_backbone", seed, {**place, "variant": training.variant}
    yield "boxes of f^h", "extract_features", seed, {**place, "backbone": refined}
    yield "boxes of f^h", "pseudo_boxes", seed, {**place, "backbone": refined}


def _by_parts(config: Config, rule: str, dataset: str) -> str:
    """The rule that does a stage's work on a dataset in this many parts."""
    several = rule == "pseudo_boxes" and datasets.count_shards(config, dataset) > 1
    return f"{rule}_of_shard" if several else rule


def _files(config: Config, rule: Timed, wildcards: Mapping[str, Any]) -> dict[str, Any]:
    """The files of a rule's jobs; `{shard}` stays, and is counted."""
    artifact, benchmark = (file.format(**wildcards, shard="{shard}") for file in rule)
    several = "{shard}" in artifact
    count = datasets.count_shards(config, wildcards["dataset"]) if several else 1
    return {"artifact": artifact, "benchmark": benchmark, "shards": count}


def files(config: Config, rules: Mapping[str, Timed]) -> dict[str, list[str]]:
    """What the jobs make.

    Where it is told how long they took may be missing, and is no reason to run them again.
    """
    made = [
        job["artifact"].replace("{shard}", str(shard))
        for job in jobs(config, rules)
        for shard in range(job["shards"])
    ]
    return {
        "artifacts": made,
        "meta": meta_files(file for file in made if file.endswith(".json")),
    }


def job_options(config: Config, rules: Mapping[str, Timed]) -> str:
    """Each job as an option of the stage."""
    return " ".join(
        options({"job": [f"{key}={value}" for key, value in job.items()]})
        for job in jobs(config, rules)
    )
