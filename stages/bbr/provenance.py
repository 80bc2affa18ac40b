"""What made an artifact: stage, parameters, input digests and library versions."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from .files import sha256

_LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "opencv-contrib-python-headless",
    "pillow",
)


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
        "versions": {library: version(library) for library in _LIBRARIES},
        "device": device,
    }
