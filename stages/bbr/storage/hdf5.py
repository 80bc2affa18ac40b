"""HDF5 files of ours: how they are made, and how damage shows in those that are read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from ..errors import InputError
from .atomic import PatientFile, atomic_path

# Since HDF5 1.10 headers have checksums, as our datasets do, so that a damaged file is refused and
# never misread.
_LAYOUT_VERSION = "v110"
# One image after the other reads a chunk once: those of features have 3 MB.
_READ_CACHE_BYTES = 2**23

# What h5py raises on a damaged file, depending on the place of the damage.
DAMAGE = (OSError, LookupError, RuntimeError, TypeError, ValueError, AttributeError)


class OutputFile(h5py.File):
    """An HDF5 file being written.

    HDF5 does not bear a failed write, such as on a full disk: it tries again at every close, with
    a traceback each, and crashes at exit. So failures are kept from it, and told by `check`.
    """

    def __init__(self, path: Path | str) -> None:
        self._stream = PatientFile(path, "w+")
        super().__init__(self._stream, "w", libver=_LAYOUT_VERSION)

    def check(self) -> None:
        """Call now and then while writing.

        Raises:
            OSError: a write has failed.
        """
        self._stream.check()

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


@contextlib.contextmanager
def create_complete(
    path: Path | str, schema: str, provenance: dict[str, Any], **attributes: Any
) -> Iterator[OutputFile]:
    """A file for `CheckedFile`; it appears, complete, when the block ends without an exception.

    Raises:
        OSError: a write failed.
    """
    # The inner context ends first: only a closed HDF5 file is whole, so the rename comes after it.
    with atomic_path(path) as temporary, create_hdf5(temporary) as file:
        written = json.dumps(provenance, sort_keys=True)
        for name, value in {"schema": schema, **attributes, "provenance": written}.items():
            file.attrs[name] = value
        yield file
        file.attrs["complete"] = True


class _GrowingDataset:
    """A dataset to which rows are added, written a chunk at a time.

    Attributes:
        count: rows so far, those that wait included.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self.count = 0
        self._chunk: int = dataset.chunks[0]
        self._written = 0
        self._waiting: list[np.ndarray] = []

    def append(self, rows: np.ndarray) -> None:
        """Add rows at the end, and write what fills chunks."""
        self._waiting.append(rows)
        self.count += len(rows)
        self._write(self.count // self._chunk * self._chunk)

    def finish(self) -> None:
        """Write the rows that still wait."""
        self._write(self.count)

    def _write(self, stop: int) -> None:
        """Write rows up to a position; the others go on waiting."""
        start = self._written
        if stop > start:
            rows = np.concatenate(self._waiting)
            self.dataset.resize(stop, axis=0)
            self.dataset[start:] = rows[: stop - start]
            # A copy, since a view would keep all of them in memory.
            self._waiting = [rows[stop - start :].copy()]
            self._written = stop


class GrowingFile:
    """Datasets of a file being written that grow by rows, each with checksums.

    Rows wait in memory until they fill a chunk, and are written a chunk at a time. A context
    manager, whose end writes those that still wait; after an exception they are dropped.

    Attributes:
        file: the open file.
    """

    def __init__(self, file: OutputFile) -> None:
        self.file = file
        self._datasets: dict[str, _GrowingDataset] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for growing in self._datasets.values():
                growing.finish()
            self.file.check()

    def create(
        self, name: str, dtype: Any, shape: tuple[int, ...], rows: int, **storage: Any
    ) -> None:
        """A new, empty dataset of rows of this shape, `rows` of them in a chunk."""
        dataset = self.file.create_dataset(
            name,
            shape=(0, *shape),
            maxshape=(None, *shape),
            chunks=(rows, *shape),
            dtype=dtype,
            fletcher32=True,
            **storage,
        )
        self._datasets[name] = _GrowingDataset(dataset)

    def has(self, name: str) -> bool:
        """Whether there is a dataset of this name."""
        return name in self._datasets

    def dtype(self, name: str) -> np.dtype:
        """Of the values of a dataset."""
        dtype: np.dtype = self._datasets[name].dataset.dtype
        return dtype

    def count(self, name: str) -> int:
        """Rows of a dataset so far, those that wait included."""
        return self._datasets[name].count

    def append_rows(self, name: str, rows: np.ndarray) -> None:
        """Add rows at the end. They are not copied before they are written.

        Raises:
            OSError: a write failed.
        """
        self._datasets[name].append(rows)
        self.file.check()

    def note_skipped(self, skipped: list[dict[str, Any]]) -> None:
        """Record the images that could not be read: [{"image_id", "reason"}]."""
        self.file.attrs["skipped"] = json.dumps(skipped)


def read_rows(dataset: h5py.Dataset, positions: Sequence[int]) -> np.ndarray:
    """Rows at these positions, in their order, repeats allowed: (len(positions), ...).

    One read each: for a list of positions h5py selects each element by itself, which for 36 maps
    of 3 × 361 × 384 takes 0.8 s instead of 0.03 s.
    """
    rows = np.empty((len(positions), *dataset.shape[1:]), dataset.dtype)
    for row, position in enumerate(positions):
        dataset.read_direct(rows, np.s_[position], np.s_[row])
    return rows


def open_unlocked(path: Path | str) -> h5py.File:
    """An HDF5 file for reading, without a lock, which many network file systems do not have.

    None is needed: a file of ours is complete once it has its name.
    """
    return h5py.File(path, "r", locking=False, rdcc_nbytes=_READ_CACHE_BYTES)


def why_unreadable(error: BaseException) -> str:
    """Why an HDF5 file does not open: the system's own reason, where there is one."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read ({os.strerror(error.errno)})"
    return "not a readable HDF5 file (truncated or damaged); make it again"


class CheckedFile:
    """A complete HDF5 file of a schema, open for reading; use as a context manager.

    Subclasses say what else must hold, in `_check`.

    Attributes:
        role: what the file is called in messages.
        schema: its attribute of that name.

    Raises:
        InputError: not a file of this schema, not complete, or damaged.
    """

    role: str
    schema: str

    def __init__(self, path: Path | str) -> None:
        self.path = path
        if not Path(path).is_file():
            raise InputError(f"{self.role} {path}: no such file")
        try:
            self._file = open_unlocked(path)
        except OSError as error:
            raise self._error(why_unreadable(error)) from error
        try:
            attributes = dict(self._file.attrs)
            self._require_complete(attributes)
            self._check(attributes)
        except BaseException as error:
            self._file.close()
            if isinstance(error, DAMAGE):
                raise self._error(
                    "damaged or not of the documented layout; make it again"
                ) from error
            raise

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _check(self, attributes: dict[str, Any]) -> None:
        """Read what is small, and see whether all fits together."""
        raise TypeError("CheckedFile is abstract")

    def _require_complete(self, attributes: dict[str, Any]) -> None:
        if attributes.get("schema") != self.schema:
            raise self._error(f"schema is {attributes.get('schema')!r}, not {self.schema!r}")
        if not attributes.get("complete", False):
            raise self._error("not marked complete; make it again")

    def _read(self, name: str, selection: Any = slice(None)) -> np.ndarray:
        with self._told_of_damage(name):
            return self._file[name][selection]

    def _read_rows(self, name: str, positions: Sequence[int]) -> np.ndarray:
        with self._told_of_damage(name):
            return read_rows(self._file[name], positions)

    @contextlib.contextmanager
    def _told_of_damage(self, name: str) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise self._error(f"{name} cannot be read ({os.strerror(error.errno)})") from error
            raise self._error(
                f"damage at {name} (checksum or truncation); make it again"
            ) from error

    def _error(self, what: str) -> InputError:
        return InputError(f"{self.role} {self.path}: {what}")
