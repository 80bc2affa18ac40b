"""Other people's weights: state dicts in torch's or safetensors' format, never unpickled."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .safetensors_files import read_tensors

# Under which a training checkpoint keeps the network.
_NETWORK_KEYS = ("model", "state_dict", "teacher")
_PARALLEL_PREFIX = "module."


def read_checkpoint(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A network's tensors by name, and the metadata of a safetensors file.

    Torch's files are read without running code of theirs; a plain `argparse.Namespace` beside the
    weights, common in training checkpoints, is let through. Prefixes of DataParallel are dropped.

    Raises:
        InputError: the file is missing, damaged or holds whole pickled objects.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    if Path(path).suffix == ".safetensors":
        return read_tensors(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds pickled objects, which could run any code and are not loaded;"
            " import_weights.py reads the weights alone, or save the module's state_dict() with"
            " torch.save where the file comes from"
        ) from error
    except Exception as error:  # torch raises many kinds for a damaged archive
        raise InputError(f"{path}: not a readable weights file ({type(error).__name__})") from error
    return without_prefix(_network(content, path)), {}


def _network(content: Any, path: Path | str) -> dict[str, Tensor]:
    for key in _NETWORK_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: holds no state dict")
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"{path}: its state dict holds no tensors")
    return tensors


def without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under names without DataParallel's prefix, however often it is there."""
    while all(name.startswith(_PARALLEL_PREFIX) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL_PREFIX): t for name, t in tensors.items()}
    return tensors
