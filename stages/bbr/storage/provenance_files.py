"""Reading the provenance that artifacts carry, whatever their kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
from safetensors import SafetensorError, safe_open

from ..errors import InputError
from .boxes_json import read_meta
from .json_files import METADATA_DIGEST, metadata_digest


def read_provenance(path: Path | str) -> dict[str, Any]:
    """The record in an artifact of ours: weights, features and inputs of h, or boxes.

    Raises:
        InputError: the file is missing or has no such record.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix == ".json":
            record = read_meta(path)["provenance"]
        else:
            record = json.loads(_attribute(path))
        if {"stage", "parameters", "device"} <= set(record):
            return record
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise InputError(f"{path}: does not say how it was made; make it again") from error
    raise InputError(f"{path}: does not say how it was made; make it again")


def _attribute(path: Path) -> str:
    """The JSON text of the record in safetensors or HDF5."""
    if path.suffix == ".safetensors":
        # As NumPy's: torch takes seconds to import.
        with safe_open(path, framework="numpy") as handle:
            metadata = handle.metadata() or {}
        if metadata.get(METADATA_DIGEST, metadata_digest(metadata)) != metadata_digest(metadata):
            raise ValueError("altered")
        return metadata["provenance"]
    with h5py.File(path, "r") as file:
        return file.attrs["provenance"]
