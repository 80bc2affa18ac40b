"""What made an artifact: stage, parameters, input digests and library versions.

`provenance` is the record to write; `read_provenance` finds it again in artifacts of every kind.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..errors import InputError
from .atomic import sha256
from .json_files import METADATA_DIGEST, metadata_digest, read_json

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


def read_provenance(path: Path | str) -> dict[str, Any]:
    """The record in an artifact of ours: weights, features and inputs of h, or boxes.

    Raises:
        InputError: the file is missing or has no such record.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    problem = f"{path}: does not say how it was made; make it again"
    try:
        record = _record(path)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(problem) from error
    if not isinstance(record, dict) or not {"stage", "parameters", "device"} <= set(record):
        raise InputError(problem)
    return record


def _record(path: Path) -> Any:
    """What the artifact says, whatever it is. Libraries are imported here: few stages read records.

    Raises:
        OSError, KeyError, TypeError, ValueError: it says nothing, or is damaged.
    """
    if path.suffix == ".json":
        beside = path.with_suffix(".meta.json")
        return read_json(beside)["provenance"] if beside.exists() else None
    if path.suffix == ".safetensors":
        return _record_of_weights(path)
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        return json.loads(file.attrs["provenance"])


def _record_of_weights(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        # As NumPy's: torch takes seconds to import.
        with safe_open(path, framework="numpy") as handle:
            metadata = handle.metadata() or {}
    except SafetensorError as error:
        raise ValueError("damaged") from error
    if metadata.get(METADATA_DIGEST, metadata_digest(metadata)) != metadata_digest(metadata):
        raise ValueError("altered")
    return json.loads(metadata["provenance"])
