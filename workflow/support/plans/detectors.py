"""What h and CAD are trained by: what h reads, its options, and the weights it starts from."""

from __future__ import annotations

from typing import Any

from .. import given_files
from ..artifacts import split_backbone
from ..command_line import options
from ..given_files import without, without_file
from ..sections import Config, method_section, refinement_section, variant_section


def inputs_name(config: Config, method: str) -> str:
    """The name of what h reads: `default`, or the method where it has settings of its own."""
    return method if config["heuristics"][method].get("detector_inputs") else "default"


def inputs_file(config: Config, dataset: str, backbone: str, method: str) -> str:
    """What h reads of f, as it was or is to be trained, or of f^h."""
    return f"results/{dataset}/{backbone}/detector_inputs/{inputs_name(config, method)}.h5"


def inputs_section(config: Config, backbone: str, name: str) -> dict[str, Any]:
    """`detector_inputs` for one of those names on f or f^h, whose size of images counts more."""
    base, _ = split_backbone(backbone)
    section = config["discovery"]["detector_inputs"]
    if name != "default":
        section = method_section(config, "detector_inputs", name)
    return {**section, **config["backbones"][base].get("detector_inputs", {})}


def map_options(config: Config, base: str, method: str) -> str:
    """How refinement makes anew what h reads."""
    section = inputs_section(config, base, inputs_name(config, method))
    return options({key: section[key] for key in ("image_size", "parts")})


def init_file(config: Config, method: str, variant: str) -> str | list[str]:
    """The file that h starts from, or nothing."""
    section = variant_section(config, "detector", method, variant)
    return given_files.weights_file(section.get("init"))


def training_options(config: Config, method: str, variant: str) -> str:
    """The options of h's training."""
    given = without_file(variant_section(config, "detector", method, variant), "init")
    return options(given, variant_section(config, "loss_weights", method, variant))


def surrogate_options(config: Config, method: str, variant: str) -> str:
    """The options of h's training, but on all boxes of f."""
    given = without_file(variant_section(config, "detector", method, variant), "init")
    losses = variant_section(config, "loss_weights", method, variant)
    return options({**given, "target_share": 1}, losses)


def refinement_options(config: Config, base: str, method: str, variant: str) -> str:
    """The options of f^h's training."""
    # Whether there is a surrogate: its file is among the inputs of a job that has one.
    given = without(refinement_section(config, base, method, variant), "surrogate")
    return options(given, variant_section(config, "loss_weights", method, variant))


def refinement_devices(config: Config, base: str, method: str, variant: str) -> int:
    """On how many devices f is refined."""
    return refinement_section(config, base, method, variant)["devices"]


def cad_init_file(config: Config) -> str | list[str]:
    """The file that CAD starts from, or nothing where its weights come from elsewhere."""
    return given_files.weights_file(config["cad"]["training"].get("init"))


def cad_prediction_options(config: Config, dataset: str) -> str:
    """The options of CAD's predictions on a dataset."""
    section = config["cad"]
    return options({**section["prediction"], **section["dataset_prediction"].get(dataset, {})})


def cad_options(config: Config, dataset: str) -> str:
    """The options of CAD's training on a dataset."""
    given = without(config["cad"]["training"], "dataset_steps")
    steps = config["cad"]["training"]["dataset_steps"].get(dataset, given["steps"])
    return options(without_file(given, "init"), {"steps": steps})
