"""Whole pickled torch modules, of which the weights are read and nothing is run.

A pickle may name any function and have it called. Here a name outside a short list of harmless ones
becomes an inert stand-in, which keeps the state it is given; so that the weights inside a module
that was saved whole can be had without its code, and without trust.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .safe_pickle import HARMLESS, PlainReader

# What tensors are built with.
_TENSORS = {
    "torch._utils": ("_rebuild_tensor_v2", "_rebuild_parameter"),
    "torch": ("Size", "device"),
}


# Functions, by the style of their names, that modules are saved with; here they do nothing either.
_FUNCTIONS = ("functools.partial",)


class _StandIn:
    """An instance of a class that is not loaded; `state` is what it was saved with.

    To make one runs nothing. Files that call functions are refused all the same: weights do not.
    """

    name = "?"
    state: Any = None

    def __init__(self, *_: Any) -> None:
        if self.name.rpartition(".")[2][:1].islower() and self.name not in _FUNCTIONS:
            raise InputError(f"calls {self.name}, which could do anything")

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _ModuleReader(PlainReader):
    """Knows tensors as well, and stand-ins for all else."""

    def find_class(self, module: str, name: str) -> Any:
        """The harmless function of that name, or a stand-in."""
        if name in _TENSORS.get(module, ()):
            return pickle.Unpickler.find_class(self, module, name)
        if name in HARMLESS.get(module, ()):
            return super().find_class(module, name)
        return type(name, (_StandIn,), {"name": f"{module}.{name}"})


def read_pickled_module(path: Path | str) -> dict[str, Tensor]:
    """The state dict of a torch module that was saved whole, without its code.

    Raises:
        InputError: the file is damaged, calls a function of its own, or holds no module.
    """
    reader = SimpleNamespace(Unpickler=_ModuleReader, load=_load, __name__=__name__)
    try:
        with warnings.catch_warnings():
            # Old files are compared with the source of their classes, which is not here.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
    except InputError as error:
        raise InputError(
            f"{path}: {error}; not loaded. Where you trust the file, save its module's"
            " state_dict() with torch.save in the environment that it comes from"
        ) from None
    except Exception as error:  # torch raises many kinds for a damaged archive
        raise InputError(f"{path}: not a readable weights file ({type(error).__name__})") from error
    module = _module_in(content)
    if module is None:
        raise InputError(f"{path}: holds neither a state dict nor a module")
    return dict(_tensors(module, ""))


def _load(handle: Any, **options: Any) -> Any:
    return _ModuleReader(handle, **options).load()


def _module_in(content: Any) -> dict[str, Any] | None:
    """The state of a module, at the top or as an entry of a dictionary."""
    candidates = list(content.values()) if isinstance(content, dict) else [content]
    for candidate in candidates:
        state = getattr(candidate, "state", None)
        if isinstance(candidate, _StandIn) and isinstance(state, dict) and "_modules" in state:
            return state
    return None


def _tensors(state: dict[str, Any], prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors as `Module.state_dict` gives them."""
    hidden = state.get("_non_persistent_buffers_set", ())
    own = [*state.get("_parameters", {}).items()]
    own += [(n, t) for n, t in state.get("_buffers", {}).items() if n not in hidden]
    yield from ((prefix + name, t.detach()) for name, t in own if isinstance(t, Tensor))
    for name, module in state["_modules"].items():
        if isinstance(module, _StandIn) and isinstance(module.state, dict):
            yield from _tensors(module.state, f"{prefix}{name}.")
