"""The tables of workflow/sources/: which rules and files there are to fetch."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from .yaml_files import read_yaml

_FOLDER = Path(__file__).parents[1] / "sources"
DATASETS = _FOLDER / "datasets.yaml"
WEIGHTS = _FOLDER / "weights.yaml"


@cache
def read(path: Path) -> dict[str, Any]:
    """A table, by name of entry."""
    return read_yaml(path)


def weight_files(path: Path) -> dict[str, str]:
    """The file of ours that each entry of the registry becomes; a folder has the entry's name."""
    return {
        name: f"{name}{entry.get('output', '.safetensors')}" for name, entry in read(path).items()
    }
