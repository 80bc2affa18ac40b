"""HDF5 files of ours: how they are made, and how damage shows in those that are read."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import h5py

# Since HDF5 1.10 headers have checksums, as our datasets do, so that a damaged file is refused and
# never misread.
_LAYOUT_VERSION = "v110"
# Holds the last, half-filled chunk of each dataset, which else is written anew for every image.
_CHUNK_CACHE_BYTES = 2**26

# What h5py raises on a damaged file, depending on the place of the damage.
DAMAGE = (OSError, LookupError, RuntimeError, TypeError, ValueError, AttributeError)


class _Stream(io.FileIO):
    """A file whose writes seem to succeed always; `failure` is the first that did not."""

    failure: OSError | None = None

    def write(self, content: memoryview) -> int:
        """Write all of `content`; nothing more after a failure."""
        rest = memoryview(content)
        while len(rest) and self.failure is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.failure = error
        return len(content)


class OutputFile(h5py.File):
    """An HDF5 file being written.

    HDF5 does not bear a failed write, such as on a full disk: it tries again at every close, with
    a traceback each, and crashes at exit. So failures are kept from it, and told by `check`.
    """

    def __init__(self, path: Path | str) -> None:
        self._stream = _Stream(path, "w+")
        super().__init__(self._stream, "w", libver=_LAYOUT_VERSION, rdcc_nbytes=_CHUNK_CACHE_BYTES)

    def check(self) -> None:
        """Call now and then while writing.

        Raises:
            OSError: a write has failed.
        """
        if self._stream.failure is not None:
            raise self._stream.failure

    def close(self) -> None:
        """Write what is still in memory, and close the file."""
        super().close()
        self._stream.close()


@contextlib.contextmanager
def create_hdf5(path: Path | str) -> Iterator[OutputFile]:
    """A new HDF5 file, whole and closed once the block has ended without an exception.

    Raises:
        OSError: a write failed.
    """
    file = OutputFile(path)
    try:
        with file:
            yield file
    finally:
        # Even in place of another exception, which then is a consequence.
        file.check()
