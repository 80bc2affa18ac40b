"""Sections of the configuration as a backbone, a heuristic or a variant has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .artifacts import split_backbone
from .command_line import options
from .given_files import without
from .references import LAYER

Config = Mapping[str, Any]

# Keys of a heuristic's section that are no options of its own.
METHOD_KEYS = ("label", "backbone", "detector_inputs", "detector", "refinement", LAYER)


def heuristic(config: Config, backbone: str, method: str) -> dict[str, Any]:
    """A heuristic's section, with what the backbone (f or f^h) changes in it."""
    base, _ = split_backbone(backbone)
    changed = config["backbones"][base]["heuristics"].get(method, {})
    return {**config["heuristics"][method], **changed}


def heuristic_options(config: Config, backbone: str, method: str) -> str:
    """The options of a heuristic on a backbone."""
    return options(without(heuristic(config, backbone, method), *METHOD_KEYS))


def method_name(config: Config, backbone: str, method: str) -> str:
    """What a method is called in tables; that says what it runs on where this changes it."""
    section = heuristic(config, backbone, method)
    if section.get(LAYER) is not None:
        return f"{section['label']}+"
    if "model" in section and section["model"] is None:
        edges = {"hed": "HED edges, supervised"}.get(section.get("edges"), "gradient edges")
        return f"{section['label']} ({edges})"
    return section["label"]


def backbone_of(config: Config, section: Mapping[str, Any], method: str) -> str:
    """Where a table or study runs a method: on its own backbone, or on the method's."""
    return config["heuristics"][method].get("backbone", section["backbone"])


def method_section(config: Config, section: str, method: str) -> dict[str, Any]:
    """`detector_inputs`, `loss_weights`, `detector` or `refinement` as the method has it."""
    return {**config["discovery"][section], **config["heuristics"][method].get(section, {})}


def variant_section(config: Config, section: str, method: str, variant: str) -> dict[str, Any]:
    """`loss_weights`, `detector` or `refinement` as the variant has it, on top of the method's.

    What a backbone changes of `refinement`, the same in all variants, is in `refinement_section`.
    """
    changed = config["discovery"]["variants"][variant][section]
    return {**method_section(config, section, method), **changed}


def refinement_section(
    config: Config, base: str, method: str, variant: str = "default"
) -> dict[str, Any]:
    """`refinement` as a variant has it, on top of what the method and the backbone change."""
    on_backbone = config["backbones"][base].get("refinement", {})
    changed = config["discovery"]["variants"][variant]["refinement"]
    return {**method_section(config, "refinement", method), **on_backbone, **changed}


def grounding_section(config: Config, section: str, variant: str) -> dict[str, Any]:
    """`loss_weights`, `detector` or `refinement` of grounding as a variant has it."""
    settings = config["grounding"]
    return {**settings[section], **settings["variants"][variant][section]}
