"""How much memory a process may use, and what is said where it does not suffice."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from ..errors import InputError

MB = 10**6
# Of control groups without a limit: `max`, or in version 1 almost all that 63 bits hold.
_NO_LIMIT = 2**60
_UNITS = {unit: 2 ** (10 * i) for i, unit in enumerate(("bytes", *(f"{k}iB" for k in "KMGTPE")))}
_ASKED = re.compile(r"allocate ([\d.]+) (bytes|[KMGTPE]iB)")
_FAILED = ("out of memory", "not enough memory", "can't allocate memory")
_asked_mb: int | None = None


class OutOfMemory(InputError):
    """What was to be done needs more memory than there is; the message names it and the keys."""


def limit_memory(megabytes: int | None) -> None:
    """Keep to so many megabytes (None: to what there is), where there is a way with less."""
    global _asked_mb
    _asked_mb = megabytes


def memory_limit() -> int:
    """Bytes that this process is to keep to: --memory-mb, or what there is."""
    return available_memory() if _asked_mb is None else _asked_mb * MB


@cache
def available_memory(root: Path = Path("/")) -> int:
    """Bytes: the least of the machine's memory and what this process's control groups allow.

    Args:
        root: where /proc and /sys are looked for.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_group_limits(root)])


def _group_limits(root: Path) -> Iterator[int]:
    """The limits of the groups that this process is in, of version 1 and 2, and of those above.

    A container often sees its own group as the top, whatever /proc calls it.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            top, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = Path(group.lstrip("/")).parts
        for depth in range(len(parts) + 1):
            limit = _number(top.joinpath(*parts[:depth], name))
            if limit is not None:
                yield limit


def _number(path: Path) -> int | None:
    try:
        limit = int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # ValueError: `max`
        return None
    return limit if limit < _NO_LIMIT else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python's, NumPy's or torch's allocation failed, on a CPU or a GPU."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _FAILED)
    )


_LESS = "shrink the images (max_side of the index), give less at once (batch_pixels, batch_size)"


def explained(error: BaseException, what: str = "", less: str = _LESS) -> str:
    """One line of an allocation that failed: at what, how much was asked for, what to change.

    Args:
        what: was being worked on, as `photo.jpg (4000×3000 pixels)`.
        less: how to need less.
    """
    asked = _ASKED.search(str(error))
    size = float(asked[1]) * _UNITS[asked[2]] if asked else 0
    needed = f", {_shown(size)} more were asked for" if asked else ""
    return (
        f"{f'{what}: ' if what else ''}out of memory{needed}, and the limit is"
        f" {_shown(memory_limit())}; {less}, or give the job more memory (memory_mb)"
    )


def _shown(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


@contextlib.contextmanager
def naming(what: Callable[[], str], less: str = _LESS) -> Iterator[None]:
    """Say what was being worked on, should memory run out within.

    Raises:
        OutOfMemory: it did.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(explained(error, what(), less)) from error
