"""Names that one key of the configuration has of another: which key, and what it may name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import sources
from .artifacts import COLLECTION_METHODS, IMAGE_METHODS, PIXELS
from .grounding_names import UNTRAINED

LAYER = "second_layer"  # a heuristic's key that names another backbone
GROUNDING_TABLES = ("table1", "table2", "table3", "table5")

# A key, the name that it has, and the configured names that it may have.
Reference = tuple[str, str, Iterable[str]]


def patch_heuristics(names: Iterable[str]) -> list[str]:
    """Those that propose boxes from the patch features of one image, as h's training needs."""
    return [name for name in names if name not in (*IMAGE_METHODS, *COLLECTION_METHODS)]


def references(config: dict[str, Any]) -> Iterator[Reference]:
    """Wherever a key refers to another, in the order in which they are checked."""
    yield from _datasets(config)
    yield from _resources(config)
    yield from _heuristics(config)
    for name, table in config["tables"].items():
        if name in GROUNDING_TABLES:
            yield from _grounding_table(f"tables.{name}", table, config)
        else:
            yield from _table(config, f"tables.{name}", table)
    for name, figure in config["figures"]["maps"].items():
        yield from _map_figure(f"figures.maps.{name}", figure, config)
    for dataset in config["cad"]["training"]["dataset_steps"]:
        yield "cad.training.dataset_steps", dataset, config["datasets"]
    yield from _study(config)
    grounding = config["grounding"]
    yield "grounding.own", grounding["own"], [*config["datasets"], *UNTRAINED]
    for dataset in grounding["weights"]:
        yield "grounding.weights", dataset, config["datasets"]
    yield from _phrase_figure("figures.phrases", config["figures"]["phrases"], config)


def _backbones(config: dict[str, Any]) -> list[str]:
    """Those that have features."""
    return [name for name in config["backbones"] if name != PIXELS]


def _datasets(config: dict[str, Any]) -> Iterator[Reference]:
    """What datasets and weights are fetched from and pooled of, and what the user named."""
    datasets = config["datasets"]
    for name, dataset in datasets.items():
        for source in dataset.get("fetch") or ():
            yield f"datasets.{name}.fetch", source, sources.read(sources.DATASETS)
        for part in dataset.get("pool", ()):
            yield f"datasets.{name}.pool", part, [n for n in datasets if "pool" not in datasets[n]]
    for name in config["local_weights"]:
        yield "local_weights", name, sources.read(sources.WEIGHTS)
    yield "backbone", config["backbone"], config["backbones"]
    yield "cluster_backbone", config["cluster_backbone"], _backbones(config)
    yield "method", config["method"], config["heuristics"]


def _resources(config: dict[str, Any]) -> Iterator[Reference]:
    resources, datasets = config["resources"], config["datasets"]
    for section in ("inpainter", "segmenter"):
        yield f"resources.{section}.dataset", resources[section]["dataset"], datasets
    segmenter = resources["segmenter"]
    yield "resources.segmenter.backbone", segmenter["backbone"], _backbones(config)
    for section in ("clip", "captioner"):
        for dataset in resources[section]["datasets"]:
            yield f"resources.{section}.datasets", dataset, datasets


def _heuristics(config: dict[str, Any]) -> Iterator[Reference]:
    methods, backbones = config["heuristics"], _backbones(config)
    for name, method in methods.items():
        if "backbone" in method:
            yield f"heuristics.{name}.backbone", method["backbone"], backbones
    for name in backbones:
        for method in config["backbones"][name]["heuristics"]:
            yield f"backbones.{name}.heuristics", method, methods
    for where, section in _heuristic_sections(config):
        if section.get(LAYER) is not None:
            yield f"{where}.{LAYER}", section[LAYER], backbones


def _map_figure(where: str, figure: dict[str, Any], config: dict[str, Any]) -> Iterator[Reference]:
    yield f"{where}.dataset", figure["dataset"], config["datasets"]
    yield f"{where}.variant", figure["variant"], config["discovery"]["variants"]
    for method, backbone in figure["methods"].items():
        yield f"{where}.methods", method, config["heuristics"]
        yield f"{where}.methods.{method}", backbone, _backbones(config)
    if figure["phrase"] is not None:
        yield from _phrase_figure(f"{where}.phrase", figure["phrase"], config)


def _study(config: dict[str, Any]) -> Iterator[Reference]:
    study, datasets = config["study"], config["datasets"]
    variants = config["discovery"]["variants"]
    yield "study.backbone", study["backbone"], _backbones(config)
    yield from (("study.variants", variant, variants) for variant in study["variants"])
    for method in study["methods"]:
        yield "study.methods", method, patch_heuristics(config["heuristics"])
    for dataset in study["datasets"]:
        yield "study.datasets", dataset, datasets
    for dataset, held_out in study["held_out"].items():
        yield "study.held_out", dataset, datasets
        yield f"study.held_out.{dataset}", held_out, datasets


def _phrase_figure(
    where: str, figure: Mapping[str, Any], config: dict[str, Any]
) -> Iterator[Reference]:
    for key in ("dataset", "train"):
        yield f"{where}.{key}", figure[key], config["datasets"]
    yield f"{where}.variant", figure["variant"], config["grounding"]["variants"]


def _table(config: dict[str, Any], where: str, table: Mapping[str, Any]) -> Iterator[Reference]:
    """The names in one table; not every table has every key."""
    methods, variants = config["heuristics"], config["discovery"]["variants"]
    backbones = _backbones(config)
    trained_on = patch_heuristics(methods)
    for key, allowed in (("backbone", backbones), ("variant", variants)):
        if key in table:
            yield f"{where}.{key}", table[key], allowed
    if table.get("random_backbone") is not None:
        yield f"{where}.random_backbone", table["random_backbone"], backbones
    for dataset in table.get("datasets", ()):
        yield f"{where}.datasets", dataset, config["datasets"]
    for kind, allowed in (
        ("methods", trained_on),
        ("controls", trained_on),
        ("baselines", methods),
    ):
        for method in table.get(kind, ()):
            yield f"{where}.{kind}", method, allowed
    for method in table["cad"] if isinstance(table.get("cad"), list) else ():
        yield f"{where}.cad", method, table["methods"]
    for method in table.get("baseline_cad", ()):
        yield f"{where}.baseline_cad", method, table["baselines"]
    for method, backbone in table.get("baselines", {}).items():
        own = [PIXELS] if method in IMAGE_METHODS else backbones
        yield f"{where}.baselines.{method}", backbone, own
    for variant in table.get("ablations", ()):
        yield f"{where}.ablations", variant, variants


def _heuristic_sections(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, section) of every heuristic, and of what backbones change in them."""
    for method, section in config["heuristics"].items():
        yield f"heuristics.{method}", section
    for name, backbone in config["backbones"].items():
        for method, section in backbone["heuristics"].items():
            yield f"backbones.{name}.heuristics.{method}", section


def _grounding_table(
    where: str, table: dict[str, Any], config: dict[str, Any]
) -> Iterator[Reference]:
    trained_on = [table["train"]] if isinstance(table["train"], str) else table["train"]
    for dataset in trained_on:
        yield f"{where}.train", dataset, config["datasets"]
    for dataset in table["test"]:
        yield f"{where}.test", dataset, config["datasets"]
    for variant in table.get("ablations", [table.get("variant")]):
        yield f"{where}.variant", variant, config["grounding"]["variants"]
