"""Which network a job runs: a configured backbone f, or f^h, which h refined."""

from __future__ import annotations

from .. import given_files
from ..artifacts import one_of, split_backbone
from ..command_line import options
from ..given_files import without, without_file
from ..sections import Config

# Keys of a backbone's section that are not about which network it is.
_NOT_OPTIONS = ("heuristics", "detector_inputs", "refinement", "seed", "checkpoint", "cache_states")


def weights_file(config: Config, backbone: str) -> str | list[str]:
    """The file of a backbone's weights, or nothing where they come from elsewhere."""
    base, training = split_backbone(backbone)
    if training is not None:
        return f"{training.folder(base)}/refined.safetensors"
    if "checkpoint" in config["backbones"][base]:
        return f"results/resources/{base}.safetensors"
    return given_weights(config, base)


def backbone_options(config: Config, backbone: str) -> str:
    """The options that tell a stage which backbone to use, but for its file of weights."""
    base, training = split_backbone(backbone)
    if training is not None or "checkpoint" in config["backbones"][base]:
        return ""
    return given_options(config, base)


def initial_seed(config: Config, backbone: str) -> str:
    """The option for the seed of random weights."""
    base, _ = split_backbone(backbone)
    return options({"seed": config["backbones"][base].get("seed")})


def given_weights(config: Config, base: str) -> str | list[str]:
    """The file of weights that a backbone's section names, or nothing."""
    return given_files.weights_file(config["backbones"][base]["weights"])


def given_options(config: Config, base: str) -> str:
    """The options for a configured backbone as its section gives it, but for a file of weights."""
    section = without(config["backbones"][base], *_NOT_OPTIONS)
    return options(without_file(section, "weights"))


def checkpoint_file(config: Config, base: str) -> str:
    """The published checkpoint that a backbone is made of."""
    return given_files.given_file(config["backbones"][base]["checkpoint"])


def of_checkpoints(config: Config) -> str:
    """A pattern for the names of the backbones that are made of a published checkpoint."""
    return one_of(name for name, given in config["backbones"].items() if "checkpoint" in given)
