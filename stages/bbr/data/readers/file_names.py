"""Which file a dataset means by a name, where the disk has another spelling of it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from ..image_files import EXTENSIONS
from .listing import Listing
from .walk import is_hidden

# How names are compared, and the names that are alike then, each with its file.
_Tables = list[tuple[Callable[[str], str], dict[str, list[tuple[str, str]]]]]


class FileNames:
    """The files below a folder, to be found by what annotations call them.

    The same letters may be composed or decomposed Unicode (macOS decomposes names), in another
    case, behind other folders or backslashes. A file is only taken where just one fits.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, name: str) -> str | None:
        """The file of this name, relative to the root; None where none fits, or several do."""
        if os.path.isfile(self.root / name):
            return name
        return _look_up(name.replace("\\", "/"), self._whole)

    def find_stem(self, stem: str) -> str | None:
        """The image of this stem, folders before it allowed, whatever its ending."""
        return _look_up(stem.replace("\\", "/"), self._stems)

    @cached_property
    def _whole(self) -> _Tables:
        return _tables((name, name) for name in self._all)

    @cached_property
    def _stems(self) -> _Tables:
        images = [n for n in self._all if PurePosixPath(n).suffix.lower() in EXTENSIONS]
        return _tables((os.path.splitext(name)[0], name) for name in images)

    @cached_property
    def _all(self) -> list[str]:
        return sorted(_files_below(self.root))


def with_files_found(listing: Listing) -> Listing:
    """The listing with the names that its files have on disk, where they can be told."""
    names = FileNames(listing.root)
    images = [
        {**image, "file_name": names.find(image["file_name"]) or image["file_name"]}
        for image in listing.images
    ]
    return replace(listing, images=images)


def _files_below(root: Path) -> Iterator[str]:
    for folder, subfolders, names in os.walk(root, followlinks=False):
        subfolders[:] = [name for name in subfolders if not is_hidden(name)]
        for name in names:
            if not name.startswith("."):
                yield Path(folder, name).relative_to(root).as_posix()


def _tables(named: Iterable[tuple[str, str]]) -> _Tables:
    named = list(named)
    tables: _Tables = []
    for key in (_composed, _folded, _base):
        table: dict[str, list[tuple[str, str]]] = {}
        for name, file in named:
            table.setdefault(key(name), []).append((name, file))
        tables.append((key, table))
    return tables


def _look_up(name: str, tables: _Tables) -> str | None:
    """The one file that a name fits, by the closest likeness that any has."""
    for key, table in tables:
        files = [file for known, file in table.get(key(name), []) if _one_ends_other(name, known)]
        if len(files) == 1:
            return files[0]
    return None


def _one_ends_other(name: str, known: str) -> bool:
    """Whether one of two paths is the other behind more folders."""
    parts, others = (_folded(path).split("/")[::-1] for path in (name, known))
    return all(part == other for part, other in zip(parts, others, strict=False))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(name).casefold()


def _base(name: str) -> str:
    return _folded(name).rpartition("/")[2]
