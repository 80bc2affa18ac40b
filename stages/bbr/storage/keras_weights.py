"""Weights that Keras wrote (`.weights.h5`), without Keras: arrays by name."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ..errors import InputError
from .hdf5 import DAMAGE, open_unlocked, why_unreadable


def read_keras_weights(path: Path | str) -> dict[str, np.ndarray]:
    """All arrays of the file, by names such as `block1/layers/conv2d/vars/0`.

    Raises:
        InputError: it cannot be read.
    """
    found: dict[str, np.ndarray] = {}

    def keep(name: str, part: h5py.Group | h5py.Dataset) -> None:
        if isinstance(part, h5py.Dataset):
            found[name] = part[()]

    try:
        with open_unlocked(path) as file:
            file.visititems(keep)
    except DAMAGE as error:
        raise InputError(f"{path}: {why_unreadable(error)}") from error
    return found
