"""Where datasets come from: `workflow/sources/datasets.yaml`, fetched into a folder of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ..data.readers.listing import read_list
from ..errors import InputError
from ..storage.atomic import only_user_of, sha256, write_bytes
from ..storage.digests import known_digest, recorded_digest
from ..storage.safe_pickle import read_plain_pickle
from .archives import extract
from .downloads import download, require_space

T = TypeVar("T")
DOWNLOADS = "downloads"


@dataclass(frozen=True)
class DataFile:
    """One file to download.

    Attributes:
        url: of the file.
        md5, sha256: where they are public knowledge.
        take: of an archive: where each of its folders or files is to lie, below the data folder.
        place: of any other file: where it is to lie.
        lines: how many lines it has to have.
        lists: of a pickled object of lists: its keys, and the text file that each list becomes.
    """

    url: str
    md5: str | None = None
    sha256: str | None = None
    take: Mapping[str, str] | None = None
    place: str | None = None
    lines: int | None = None
    lists: Mapping[str, str] | None = None

    @property
    def places(self) -> list[str]:
        """All that it becomes, below the data folder."""
        made = [*(self.take or {}).values(), *(self.lists or {}).values()]
        return made or [str(self.place)]


@dataclass(frozen=True)
class DataSource:
    """One entry of the table.

    Attributes:
        files: to download; none where only a person can.
        gigabytes: disk that they need while they are unpacked.
        terms: of use.
        page: where a person finds the data.
        by_hand: what a person is to do.
        wanted: what must lie below the data folder once that is done.
    """

    name: str
    files: tuple[DataFile, ...] = ()
    gigabytes: float = 0
    terms: str = ""
    page: str = ""
    by_hand: str = ""
    wanted: tuple[str, ...] = ()

    @property
    def places(self) -> list[str]:
        """All that the entry brings, below the data folder."""
        return [*self.wanted, *(place for file in self.files for place in file.places)]


def read_table(path: Path | str, build: Callable[[str, dict[str, Any]], T]) -> dict[str, T]:
    """A table in YAML by name of entry.

    Args:
        build: makes an entry of its name and its row; what it lacks or has too much is a KeyError
            or a TypeError.

    Raises:
        InputError: the file is missing or malformed.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(r, dict) for r in content.values()):
        raise InputError(f"{path}: not a table of entries by name")
    found = {}
    for name, row in content.items():
        try:
            found[name] = build(name, dict(row))
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: {name}: {error}") from error
    return found


def read_sources(path: Path | str) -> dict[str, DataSource]:
    """The table of datasets by name.

    Raises:
        InputError: the file is missing or malformed.
    """

    def build(name: str, row: dict[str, Any]) -> DataSource:
        files = tuple(DataFile(**file) for file in row.pop("files", ()))
        return DataSource(name=name, files=files, **row)

    return read_table(path, build)


def fetch(source: DataSource, folder: Path) -> dict[str, str]:
    """Bring all of a source into the data folder; what lies there already is left alone.

    Returns:
        The SHA-256 of each file that was downloaded, now or by an earlier run, by its address.

    Raises:
        InputError: something is not to be had, is not what it should be, or is for a person to get;
            or another run fetches the same.
    """
    absent = [place for place in source.wanted if not (folder / place).exists()]
    if absent:
        raise InputError(
            f"{source.name}: {folder / absent[0]} is not there. {source.by_hand} See {source.page}"
        )
    downloads, found = folder / DOWNLOADS / source.name, {}
    if not all(_is_there(file, folder) for file in source.files):
        require_space(folder, source.gigabytes)
    elif not downloads.is_dir():
        return {}  # somebody else has put it there
    downloads.mkdir(parents=True, exist_ok=True)
    with only_user_of(downloads):
        for file in source.files:
            path = downloads / file.url.rpartition("/")[2]
            # A run that was killed may have placed a file, and not removed its download.
            if path.is_file() or not _is_there(file, folder):
                _fetch_file(file, path, folder)
            if digest := recorded_digest(path):
                found[file.url] = digest
    return found


def _is_there(file: DataFile, folder: Path) -> bool:
    return all((folder / place).exists() for place in file.places)


def _fetch_file(file: DataFile, path: Path, folder: Path) -> None:
    download(file.url, path, known_digest(path.name, file.sha256, file.md5))
    if file.take:
        extract(path, file.take, folder)
    elif file.lists:
        _write_lists(path, file.lists, folder)
    else:
        _place(path, file, folder)
    path.unlink()


def _place(path: Path, file: DataFile, folder: Path) -> None:
    lines = len(read_list(path)) if file.lines is not None else None
    if lines != file.lines:
        raise InputError(f"{file.url}: has {lines} lines, not {file.lines}; it is another list")
    write_bytes(folder / str(file.place), path.read_bytes())


def _write_lists(path: Path, lists: Mapping[str, str], folder: Path) -> None:
    """Lists of ids in a pickle as text files, one id a line."""
    content = read_plain_pickle(path)
    for key, place in lists.items():
        ids = content.get(key) if isinstance(content, dict) else None
        if ids is None:
            raise InputError(f"{path}: has no list {key!r}")
        text = "".join(f"{int(i)}\n" for i in ids)
        write_bytes(folder / place, text.encode())


def describe(source: DataSource, fetched: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """What is written down of a source once it is there."""
    lists = [p for p in source.places if Path(p).suffix == ".txt"]
    return {
        "name": source.name,
        "terms": source.terms,
        "downloaded": dict(fetched),
        "lists": {place: sha256(folder / place) for place in lists},
    }
