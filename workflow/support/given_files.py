"""Files that the configuration names.

A rule declares them, and tells its stage of them. Where there is none, a list without files stands
for it, as Snakemake has it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .code_tracking import ROOT
from .configuration import NOT_FILES


def given_file(path: str) -> str:
    """A file or folder that the configuration names; `workflow/` is that of the repository."""
    if path.startswith("workflow/") and Path.cwd() != ROOT:
        return str(ROOT / path)
    return os.path.expanduser(path)


def optional_file(path: str | None) -> str | list[str]:
    """A file that a key names, or nothing where it is null."""
    return [] if path is None else given_file(path)


def weights_file(weights: str | None) -> str | list[str]:
    """The file that a key for weights names; nothing where they are a library's, random or none."""
    return [] if weights in NOT_FILES else optional_file(weights)


def without_file(section: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A section but for the file of weights that this key names, which is told as an input."""
    return {k: v for k, v in section.items() if k != key or not weights_file(v)}


def without(section: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A section but for these keys."""
    return {k: v for k, v in section.items() if k not in keys}
