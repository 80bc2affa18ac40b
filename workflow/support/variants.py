"""Which trainings there are, and which variants share one.

Variants that train h alike share it, and those that refine alike too share f^h. What they share
lies under one name, which does not depend on the order in which the configuration lists its
variants: see `shared_name`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from .artifacts import GROUNDING, Training
from .sections import Config, grounding_section, refinement_section, variant_section

TRAINING_OF_H = ("loss_weights", "detector")
WHOLE_TRAINING = (*TRAINING_OF_H, "refinement")


def shared_name(variants: Iterable[str], settings: Callable[[str], object], variant: str) -> str:
    """The name for all variants that have the settings of this one.

    It is `default` if that is one of them, and else the first of them in alphabetical order: so it
    depends on the set of variants alone, and what changes nothing is found where the default lies.
    """
    wanted = settings(variant)
    alike = [name for name in variants if settings(name) == wanted]
    return min(alike, key=lambda name: (name != "default", name))


def shared_variant(
    config: Config, variant: str, methods: Iterable[str], sections: Iterable[str]
) -> str:
    """The name for all variants that have these sections as this one, for all of these methods."""
    methods, sections = list(methods), list(sections)

    def settings(name: str) -> list[dict[str, object]]:
        return [variant_section(config, s, m, name) for s in sections for m in methods]

    return shared_name(config["discovery"]["variants"], settings, variant)


def training_of_h(config: Config, training: Training) -> Training:
    """The training whose h this one uses: that of the variants which train h alike."""
    if training.method is None:
        return replace(training, variant=_grounding_variant_of_h(config, training.variant))
    shared = shared_variant(config, training.variant, [training.method], TRAINING_OF_H)
    return replace(training, variant=shared)


def _grounding_variant_of_h(config: Config, variant: str) -> str:
    def settings(name: str) -> list[dict[str, object]]:
        return [grounding_section(config, s, name) for s in TRAINING_OF_H]

    return shared_name(config["grounding"]["variants"], settings, variant)


def detector_file(config: Config, base: str, training: Training) -> str:
    """h of a training on the boxes of f, `base`."""
    return f"{training_of_h(config, training).folder(base)}/detector.safetensors"


def surrogate_file(config: Config, base: str, training: Training) -> str | list[str]:
    """The detector through which f^h is taught in h's place; nothing where it is h itself."""
    assert training.method is not None, "g^h is taught through h"
    section = refinement_section(config, base, training.method, training.variant)
    if not section["surrogate"]:
        return []
    return f"{training_of_h(config, training).folder(base)}/surrogate.safetensors"


def phrase_detector_file(config: Config, training: Training) -> str:
    """h of a training on the boxes of g."""
    return detector_file(config, GROUNDING, training)


def trainings(
    config: Config, datasets: Sequence[str], methods: Sequence[str], variant: str
) -> list[Training]:
    """One training for each dataset, heuristic and seed; variants that are alike are one."""
    variant = shared_variant(config, variant, methods, WHOLE_TRAINING)
    return [
        Training(dataset, variant, seed, method)
        for dataset in datasets
        for method in methods
        for seed in config["seeds"]
    ]


def grounding_trainings(config: Config, datasets: Sequence[str], variant: str) -> list[Training]:
    """One training of phrase grounding for each dataset and seed."""
    return [Training(dataset, variant, seed) for dataset in datasets for seed in config["seeds"]]
