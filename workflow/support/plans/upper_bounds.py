"""Networks that learned from people's boxes: which have rows, and what their jobs read."""

from __future__ import annotations

import sys
from pathlib import Path

from ..command_line import options
from ..given_files import given_file
from ..grounding_names import SUPERVISED
from ..sections import Config


def phrase_networks(config: Config) -> list[str]:
    """Those that give boxes of phrases and are configured."""
    return [name for name in SUPERVISED if config["supervised"][name] is not None]


def network_files(config: Config, name: str) -> list[str]:
    """What transformers may read of a network's folder.

    Raises:
        SystemExit: no folder is configured, or it is not there.
    """
    named = config["supervised"][name]
    if named is None:
        sys.exit(
            f"config: supervised.{name}: names no folder; add --config 'supervised={{{name}:"
            " FOLDER}'"
        )
    folder = Path(given_file(named))
    if not folder.is_dir():
        sys.exit(f"config: supervised.{name}: {named!r}: no such folder ({folder.absolute()})")
    read = (path for path in folder.iterdir() if path.suffix in (".json", ".txt"))
    return sorted(map(str, [*read, folder / "model.safetensors"]))


def network_options(config: Config, name: str) -> str:
    """A network's folder, and how much it sees at once."""
    section = config["supervised"]
    return options({"weights": given_file(section[name]), "batch_size": section["batch_size"]})
