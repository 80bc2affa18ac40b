"""Which options remake the weights that ship in workflow/resources/."""

from __future__ import annotations

from ..command_line import options
from ..given_files import given_file, without, without_file
from ..sections import Config


def training_options(config: Config, section: str) -> str:
    """The options of a stage that makes embedded weights."""
    given = without(config["resources"][section], "dataset", "datasets", "backbone", "inpainter")
    return options(without_file(given, "discriminator_weights"))


def inpainter_file(config: Config) -> str:
    """The masked autoencoder that draws backgrounds: a given one, or the small one made here."""
    given = config["resources"]["segmenter"]["inpainter"]
    return given_file(given or "results/resources/scenes_inpainter.safetensors")
