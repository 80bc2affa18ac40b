"""Imported by every stage before all else: modules load, and the process ends, in half the time.

Importing torch and timm makes some hundred thousand objects that live as long as the process.
Python's cyclic garbage collector looks through them again and again while they are made, and once
more at the end: 2.3 of 5.3 seconds of CPU time, which every job of a pipeline pays.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

_USUAL = gc.get_threshold()


def _wait() -> None:
    # Not `disable`: where nothing calls `loaded`, cycles are still freed, if late.
    gc.set_threshold(1_000_000, *_USUAL[1:])


def loaded() -> None:
    """Collect as usual from now on, but leave alone what there is by now."""
    if gc.get_threshold() != _USUAL:
        gc.freeze()
        gc.set_threshold(*_USUAL)


@contextlib.contextmanager
def large_imports() -> Iterator[None]:
    """For imports within a function: of what takes a second, and most that call it do without."""
    before = len(sys.modules)
    _wait()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            loaded()
        gc.set_threshold(*_USUAL)


_wait()
