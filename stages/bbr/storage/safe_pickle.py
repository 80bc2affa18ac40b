"""Pickles of plain data, read without running anything that they name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from ..errors import InputError

# What plain data and numpy's arrays are built with; Python 2's names among them.
HARMLESS = {
    "builtins": ("set", "frozenset", "list", "dict", "tuple", "int", "float", "bytearray"),
    "__builtin__": ("set", "frozenset", "list", "dict", "tuple", "int", "float"),
    "collections": ("OrderedDict",),
    "_codecs": ("encode",),
    "numpy": ("ndarray", "dtype"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.numeric": ("_frombuffer",),
}


class PlainReader(pickle.Unpickler):
    """Knows plain data alone."""

    def find_class(self, module: str, name: str) -> Any:
        """The harmless function of that name.

        Raises:
            InputError: it is not one.
        """
        if name in HARMLESS.get(module, ()):
            return super().find_class(module, name)
        raise InputError(f"names {module}.{name}, which could do anything")


def read_plain_pickle(path: Path | str) -> Any:
    """The content of a pickle of plain data and numpy arrays, Python 2's too.

    Raises:
        InputError: the file is missing or damaged, or names anything else.
    """
    try:
        with open(path, "rb") as handle:
            return PlainReader(handle, encoding="latin1").load()
    except InputError as error:
        raise InputError(f"{path}: {error}; not loaded") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # a damaged pickle raises whatever it runs into
        raise InputError(f"{path}: not a readable pickle ({type(error).__name__})") from error
