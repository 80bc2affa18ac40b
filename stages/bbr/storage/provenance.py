"""What made an artifact: stage, parameters, input digests and library versions."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .atomic import sha256

# Each with the distributions that it comes in; envs/ installs the first.
_LIBRARIES = {
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "timm": ("timm",),
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "opencv": (
        "opencv-contrib-python-headless",
        "opencv-contrib-python",
        "opencv-python-headless",
        "opencv-python",
    ),
    "pillow": ("pillow",),
}


def provenance(
    stage: str,
    parameters: dict[str, Any],
    inputs: dict[str, Path | str | None],
    device: str = "cpu",
) -> dict[str, Any]:
    """A JSON-serialisable record of how an artifact came to be.

    It holds no timestamps, host names or absolute paths, so that the same work gives the same
    bytes anywhere. Inputs are named by role and identified by SHA-256.
    """
    return {
        "stage": stage,
        "parameters": {key: parameters[key] for key in sorted(parameters)},
        "inputs": {role: sha256(path) for role, path in sorted(inputs.items()) if path is not None},
        "versions": {library: _version(*names) for library, names in _LIBRARIES.items()},
        "device": device,
    }


def _version(*distributions: str) -> str | None:
    """The version of the first of these that is installed; None of a library built by hand."""
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
