"""What every stage's command line shares: options, one-line errors, threads, logs, progress."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from ..errors import InputError
from ..storage.atomic import require_writable
from . import memory
from .fast_import import loaded
from .parser import build_parser, parse

T = TypeVar("T")
log = logging.getLogger("bbr")
_threads: int | None = None
# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

# What a full disk, a read-only folder or a wrong path raise: the user's to mend, not a bug.
_USER_ERRNOS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EFBIG,
}


def execute(
    run: Callable[..., Any],
    description: str | None,
    argv: list[str] | None = None,
    program: str | None = None,
) -> int:
    """Parse `argv` into the options that `run` takes, call it and return the exit status.

    `description` heads the help; `program` is what the user typed, where that is not the script.
    `--threads` and `--memory-mb` are applied here and not passed on. 0 is success; 1 is an error
    that the user can mend, told in one line on stderr; 130 is an interrupt. Anything else is a bug
    and keeps its traceback.
    """
    loaded()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    # A cluster ends jobs with SIGTERM: leave through `finally`, so that no half file stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = build_parser(run, description, program)
    parser.add_argument("--threads", type=_positive, help="CPU threads [all]")
    parser.add_argument(
        "--memory-mb",
        type=_positive_or_none,
        help="memory to keep to, MB [what the machine and its control group have]",
    )
    try:
        options, given = parse(run, parser, argv)
        if getattr(given, "output", None) is not None:
            require_writable(given.output)  # now, and not after hours of work
        if "torch" in sys.modules:
            keep_freed_memory()
        memory.limit_memory(given.memory_mb)
        with limit_threads(given.threads):
            run(**options)
    except InputError as error:
        return _fail(parser.prog, str(error))
    except OSError as error:
        if error.errno not in _USER_ERRNOS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _fail(parser.prog, f"{where}{error.strerror}")
    except (MemoryError, RuntimeError) as error:
        if not memory.is_out_of_memory(error):
            raise
        return _fail(parser.prog, memory.explained(error))
    except KeyboardInterrupt:
        return _fail(parser.prog, "interrupted", status=130)
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _positive_or_none(text: str) -> int | None:
    return None if text == "none" else _positive(text)


def _fail(program: str, message: str, status: int = 1) -> int:
    print(f"{program}: error: {' '.join(message.split())}", file=sys.stderr)
    return status


def keep_freed_memory() -> None:
    """Have glibc keep what large tensors leave behind for the next ones.

    By default it gives such blocks back to the system at once, so that every step pays for fresh
    pages again: EfficientNet-Lite0 in batches of 32 then takes almost twice as long on a CPU.
    Other C libraries have no such call and are left alone.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def thread_count() -> int:
    """CPU threads that this process may use: --threads, or every core it may run on."""
    return _threads or len(os.sched_getaffinity(0))


def limit_threads(threads: int | None) -> threadpool_limits:
    """Hold torch, OpenCV and BLAS to `threads` CPU threads (None: the machine's default).

    Only libraries that the stage has loaded are held: importing torch takes seconds, and the
    stages that count and print do without it.
    """
    global _threads
    _threads = threads
    if threads is not None and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if threads is not None and "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)
    return threadpool_limits(threads)


def progress(
    items: Iterable[T], total: int | None, what: str, size: Callable[[T], int] = lambda item: 1
) -> Iterator[T]:
    """Iterate with a bar on a terminal, and with a plain line each tenth of the way in a log.

    With an unknown total the log gets a line at 1, 2, 4, 8, ... items.

    Args:
        size: how many of what is counted an item is.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm  # a third of the start of a stage that counts and prints

        with tqdm(total=total, desc=what, leave=False) as bar:
            for item in items:
                yield item
                bar.update(size(item))
        return
    count = 0
    for item in items:
        yield item
        before, count = count, count + size(item)
        if total is None:
            if count.bit_length() > before.bit_length():
                log.info("%s: %d", what, count)
        elif 10 * count // total > 10 * before // total:
            log.info("%s: %d of %d", what, count, total)


def existing_file(path: Path | str, role: str) -> Path:
    """`path` as a Path.

    Raises:
        InputError: there is no file there.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise InputError(f"{role} {path}: no such file")
    return path
