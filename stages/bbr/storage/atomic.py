"""Files that are either complete or absent: atomic writing, locks and digests."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Buffer


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary neighbour of `path`; on success sync it and rename it to `path`.

    A reader therefore sees the old file, the new file or none, never a part of one. On an
    exception the neighbour is removed and `path` is left as it was. Neighbours that a killed
    process of this machine left behind are swept away.

    Raises:
        InputError: `path` is a folder, or its own folder cannot be written to.
    """
    path = Path(path)
    require_writable(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot make its folder ({error.strerror})") from error
    _sweep_abandoned(path)
    # The original ending stays last: some writers choose their format by it.
    temporary = path.with_name(
        f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp{path.suffix}"
    )
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        # A failed write does not say where, but the user must know.
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(path: Path | str) -> None:
    """Check that a file can be written at `path`, whose folder need not exist yet.

    Raises:
        InputError: `path` is a folder, or its own folder can neither be written to nor made.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"{path}: cannot make its folder, since {folder} is a file")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path}: folder {folder} is not writable; choose another --output")


def require_ending(path: Path, ending: str, what: str) -> None:
    """Check how an output is called whose kind its name does not choose.

    Args:
        what: it holds, such as "a table".

    Raises:
        InputError: its name ends otherwise.
    """
    if path.suffix.lower() != ending:
        raise InputError(f"{path}: {what}'s name ends in {ending}")


def _sweep_abandoned(path: Path) -> None:
    prefix = f".{path.name}.{socket.gethostname()}-"
    for stale in path.parent.glob(f"{_escape_glob(prefix)}*.tmp{_escape_glob(path.suffix)}"):
        pid = stale.name[len(prefix) :].split(".", 1)[0]
        if pid.isdigit() and not _is_running(int(pid)):
            stale.unlink(missing_ok=True)


def _escape_glob(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def only_user_of(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same out of an existing folder; a kill lets them in.

    File systems that cannot lock folders, as NFS, let everybody in.

    Raises:
        InputError: there is another.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"{folder}: another run works there; wait for its end") from error
        yield
    finally:
        os.close(descriptor)


class PatientFile(io.FileIO):
    """A file whose writes seem to succeed always, for libraries that do not bear one that fails.

    Attributes:
        failure: the first write that did fail, such as on a full disk.
    """

    failure: OSError | None = None

    def write(self, content: Buffer) -> int:
        """Write all of `content`; nothing more after a failure."""
        whole = rest = memoryview(content)
        while len(rest) and self.failure is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.failure = error
        return len(whole)

    def check(self) -> None:
        """See whether all was written.

        Raises:
            OSError: a write has failed.
        """
        if self.failure is not None:
            raise self.failure


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
