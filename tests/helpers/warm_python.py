"""Processes of Python that need not import what takes seconds, for tests that start many.

A server imports Snakemake and the libraries of the stages, nothing of this project, and forks for
each process that is asked for. It is asked by an executable called `python`, which hands on its
arguments, folder, environment and streams, and ends with the exit status of the fork:

    with warm_python(folder) as python:
        subprocess.run([python, "-m", "snakemake", ...])

Snakemake then starts its stages in the same way. All forks share the hash seed of the server: tests
of that start a Python of their own. Forks are in the process group of who asked, if that is of the
server's session, and so end with it by `os.killpg`; other signals do not reach them.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODULES = (
    "cv2",
    "h5py",
    "lightning_fabric",
    "scipy.ndimage",
    "scipy.optimize",
    "snakemake.cli",
    "timm.models",
    "torch",
    "torchvision.models.detection",
)
_MOST = 2**20  # bytes of a request
# -I and -S: it needs the standard library alone, and starts in a few milliseconds.
_CLIENT = """#!{python} -IS
import json, os, socket, sys
request = {{
    "arguments": sys.argv[1:],
    "folder": os.getcwd(),
    "environment": dict(os.environ),
    "group": os.getpgrp(),
}}
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    message = json.dumps(request).encode()
    socket.send_fds(server, [len(message).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(message)
    status = server.recv(16)
sys.exit(int(status) if status else 70)
"""


@contextlib.contextmanager
def warm_python(folder: Path) -> Iterator[Path]:
    """Run a server, and give the executable that asks it; both are made in a new folder.

    The server ends with its stdin: also where these tests fail, or are killed.
    """
    folder.mkdir()
    address, python = folder / "socket", folder / "python"
    command = [sys.executable, __file__, str(address), str(python)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        python.write_text(_CLIENT.format(python=sys.executable, address=str(address)))
        python.chmod(0o700)
        yield python


def _serve(address: str) -> dict[str, Any]:
    """Fork for each request; returns it in the fork that is to be the process."""
    for name in MODULES:
        importlib.import_module(name)
    # Has Snakemake's plugins imported.
    sys.modules["snakemake.cli"].get_argument_parser()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # handlers are not waited for
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in ready:
                sys.exit()
            asked, _ = listening.accept()
            if not os.fork():
                break
            asked.close()
    return _handle(asked)


def _handle(asked: socket.socket) -> dict[str, Any]:
    """Fork once more, and answer with the exit status of that; returns the request there."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(asked, 4, 3)
    message = b""
    while len(message) < int.from_bytes(size, "big"):
        message += asked.recv(_MOST)
    process = os.fork()
    if process:
        for stream in streams:
            os.close(stream)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        with contextlib.suppress(OSError):  # who asked may have been killed too
            asked.sendall(str(status if status >= 0 else 128 - status).encode())
        os._exit(0)
    asked.close()
    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
        os.close(stream)
    request: dict[str, Any] = json.loads(message)
    return request


def _become(
    python: str, arguments: list[str], folder: str, environment: dict[str, str], group: int
) -> None:
    """Be Python with these arguments, started in that folder by a process of that group."""
    with contextlib.suppress(PermissionError):  # of another session
        os.setpgid(0, group)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if arguments[:2] == ["-m", "snakemake"]:
        # What it starts is started likewise.
        sys.executable = python
        sys.modules["snakemake.workflow"].Workflow._rundir = folder  # taken at its import
        sys.path[0] = folder
        sys.argv = ["snakemake", *arguments[2:]]
        runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
    elif arguments and arguments[0].endswith(".py"):
        sys.path[0] = str(Path(arguments[0]).resolve().parent)
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    _become(sys.argv[2], **_serve(sys.argv[1]))
