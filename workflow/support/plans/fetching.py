"""Which pretrained weights are fetched, and from what; data sets are in datasets.py."""

from __future__ import annotations

from itertools import chain
from typing import Any

from .. import sources
from ..artifacts import one_of
from ..given_files import optional_file
from ..sections import Config
from .datasets import DATA

# The file of ours that each entry of the registry becomes; a folder has the entry's name.
WEIGHTS = sources.weight_files(sources.WEIGHTS)


def single_files() -> str:
    """A pattern for the names of weights that are one file."""
    return one_of(file for name, file in WEIGHTS.items() if file != name)


def folders() -> str:
    """A pattern for the names of weights that a library reads from a folder."""
    return one_of(file for name, file in WEIGHTS.items() if file == name)


def entry(file: str) -> str:
    """The entry of the registry that a file of ours is made of."""
    return next(name for name, made in WEIGHTS.items() if made == file)


def local_file(config: Config, file: str) -> str | list[str]:
    """The published file that the user names, or nothing where it is downloaded."""
    return optional_file(config["local_weights"].get(entry(file)))


def needed_file(file: str) -> str | list[str]:
    """The weights that these are built on, or nothing."""
    needs = sources.read(sources.WEIGHTS)[entry(file)].get("needs")
    return [] if needs is None else f"{DATA}/weights/{WEIGHTS[needs]}"


def all_weights(config: Config) -> list[str]:
    """Every file below data/weights that some key names."""
    return sorted(set(_texts_below(config, f"{DATA}/weights/")))


def _texts_below(value: Any, prefix: str) -> list[str]:
    """All texts in nested mappings and lists that begin with `prefix`."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return list(chain.from_iterable(_texts_below(item, prefix) for item in value))
    return [value] if isinstance(value, str) and value.startswith(prefix) else []
