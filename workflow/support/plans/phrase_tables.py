"""Which files the tables of phrase grounding, of captions and the study of g are made from."""

from __future__ import annotations

from collections.abc import Iterable

from ..grounding_names import CONTROLS, TASKS, TD, UNTRAINED, maps_of_g, study_tasks
from ..sections import Config
from ..variants import grounding_trainings
from .upper_bounds import phrase_networks


def scores(datasets: Iterable[str], scored: Iterable[str], task: str) -> list[str]:
    """The metrics of all of `scored` on all of `datasets`."""
    scored = list(scored)
    return [f"results/{d}/grounding/{s}/{task}.json" for d in datasets for s in scored]


def table1(config: Config) -> list[str]:
    """The pointing game on every test set: controls, a classifier, CLIP, g, g^h, upper bounds."""
    table = config["tables"]["table1"]
    scored = [*CONTROLS, TD, *table["untrained"]]
    scored += [maps_of_g(config, dataset) for dataset in table["train"]]
    for dataset in table["train"]:
        scored += _refined_if_trained(config, dataset, table["variant"])
    scored += phrase_networks(config)
    return scores(table["test"], dict.fromkeys(scored), "pointing_game")


def table2(config: Config) -> list[str]:
    """The box accuracy of g, g^h, h and upper bounds on every test set."""
    table = config["tables"]["table2"]
    scored = list(table["untrained"])
    bracketed = "hgh" if config["grounding"]["brackets"] == "g^h" else "h"
    for dataset in table["train"]:
        maps = maps_of_g(config, dataset)
        scored.append(maps)
        for training in grounding_trainings(config, [dataset], table["variant"]):
            untrained = maps in UNTRAINED
            scored += (
                [f"h.{training}"] if untrained else [f"gh.{training}", f"{bracketed}.{training}"]
            )
    scored += phrase_networks(config)
    return scores(table["test"], dict.fromkeys(scored), "bbox_accuracy")


def table3(config: Config) -> list[str]:
    """Both metrics of captions that g and g^h located, on every test set."""
    table = config["tables"]["table3"]
    maps = list(table["untrained"])
    for dataset in table["train"]:
        maps.append(maps_of_g(config, dataset))
        maps += _refined_if_trained(config, dataset, table["variant"])
    return [
        f"results/{test}/wwbl/{name}/{task}.json"
        for task in TASKS
        for test in table["test"]
        for name in dict.fromkeys(maps)
    ]


def table5(config: Config) -> list[str]:
    """Both metrics of g^h of each variant on every test set."""
    table = config["tables"]["table5"]
    scored = _ablated(config, [table["train"]])
    return [path for task in TASKS for path in scores(table["test"], scored, task)]


def study(config: Config) -> list[str]:
    """Comparisons of g^h with g for what Table 2 lists, and on all its training sets for the
    ablations of Table 5; and the box accuracy of h."""
    main, ablated = config["tables"]["table2"], config["tables"]["table5"]
    paths = []
    for task in study_tasks(config["grounding"]["box_threshold"]):
        for dataset in main["train"]:
            trained = grounding_trainings(config, [dataset], main["variant"])
            refined = [f"gh.{training}" for training in trained]
            paths += scores(main["test"], refined, f"{task}.comparison")
            if task == "bbox_accuracy":
                paths += scores(main["test"], [f"h.{training}" for training in trained], task)
        paths += scores(ablated["test"], _ablated(config, main["train"]), f"{task}.comparison")
    return list(dict.fromkeys(paths))


def _ablated(config: Config, datasets: list[str]) -> list[str]:
    """The names of g^h of each variant of Table 5, trained on each of these datasets."""
    ablations = config["tables"]["table5"]["ablations"]
    return [name for variant in ablations for name in _refined(config, datasets, variant)]


def _refined_if_trained(config: Config, dataset: str, variant: str) -> list[str]:
    """The names of g^h, one for each seed; none where CLIP's maps stand for g."""
    trained = maps_of_g(config, dataset) not in UNTRAINED
    return _refined(config, [dataset], variant) if trained else []


def _refined(config: Config, datasets: list[str], variant: str) -> list[str]:
    """The names of g^h, one for each training set and seed."""
    return [f"gh.{training}" for training in grounding_trainings(config, datasets, variant)]
