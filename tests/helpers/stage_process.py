"""Stages in processes that can be killed, without paying for their imports each time.

A server process imports the stages once and computes nothing; each run is a fork of it.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

_STAGES = Path(__file__).parents[2] / "stages"
_context = multiprocessing.get_context("forkserver")


def start_stage(name: str, arguments: list[str], log: Path) -> BaseProcess:
    """Start a stage; returns when it has begun to work. Both its streams go to `log`."""
    here, there = _context.Pipe()
    process = _context.Process(target=_run, args=(name, arguments, log, there))
    with _environment():
        process.start()
    there.close()  # or its end would not be seen here
    try:
        here.recv_bytes()
    except EOFError:
        raise AssertionError(f"{name} did not begin: {log.read_text()}") from None
    return process


def _run(name: str, arguments: list[str], log: Path, ready: Connection) -> None:
    with open(log, "ab") as handle:
        os.dup2(handle.fileno(), 1)
        os.dup2(handle.fileno(), 2)
    sys.path.insert(0, str(_STAGES))
    main = importlib.import_module(name).main
    ready.send_bytes(b"ready")
    sys.exit(main(arguments))


@contextmanager
def _environment() -> Iterator[None]:
    """What the server must find when it starts, with the first process."""
    names = [path.stem for path in _STAGES.glob("*.py")]
    _context.set_forkserver_preload([*names, __name__])
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join((str(_STAGES), str(Path(__file__).parent)))
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
