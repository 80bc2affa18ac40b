"""What of somebody's files a dataset is made from, found anew whenever a run is planned.

A record of it is an input of the index's rule, in place of the folder itself: it changes with what
a reader sees (photographs, annotations, lists of phrases), and with nothing else. The date of a
folder, hidden files and copies with other dates leave it as it was.

A file whose size and dates are those of the last time is taken to be the same, as git does. Any
other is read: photographs are known again by the checksums of the index, other files by their own.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from bbr.data.readers.walk import Walk, is_hidden, is_new

from .records import read_record, write_record

RECORDS = "results/sources"
_TEXTS = (".xml", ".txt", ".json", ".p")
_BLOCK = 2**20


def record_source(dataset: str, layout: str, paths: Mapping[str, str]) -> str:
    """Write what a dataset is made from, unless that is what is written.

    Args:
        dataset: its name.
        layout: its format, as index_dataset.py is told.
        paths: files and folders, by the option that names them; `source` is the images' folder.

    Returns:
        The path of the record, whose date is that of the last change.
    """
    key = tuple(sorted((kind, os.path.expanduser(path)) for kind, path in paths.items()))
    return _record(dataset, layout, key)


@cache
def _record(dataset: str, layout: str, paths: tuple[tuple[str, str], ...]) -> str:
    record, seen = Path(RECORDS, f"{dataset}.json"), Path(RECORDS, f"{dataset}.seen.json")
    tokens: dict[str, str] = read_record(record).get("files", {})
    stamps: dict[str, list[int]] = read_record(seen)
    source = dict(paths)["source"]
    known = _Checksums(dataset, source)
    found_tokens, found_stamps = {}, {}
    for name, path in _files(layout, dict(paths)):
        try:
            status = os.stat(path)
            stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
            old = tokens.get(name) if stamps.get(name) == stamp else None
            found_tokens[name] = old or _token(name, path, stamp, tokens.get(name), known)
            found_stamps[name] = stamp
        except FileNotFoundError:
            found_tokens[name] = "missing"
        except OSError:
            found_tokens[name] = "unreadable"  # of which the stage that reads it says why
    root = os.path.relpath(os.path.realpath(source), os.path.realpath(f"results/{dataset}"))
    files = dict(sorted(found_tokens.items()))
    write_record(record, json.dumps({"root": root, "files": files}).encode())
    write_record(seen, json.dumps(found_stamps).encode())
    return str(record)


def _token(name: str, path: str, stamp: list[int], old: str | None, known: _Checksums) -> str:
    """What stands for a file's content: the former token, if it still has the former content."""
    if not name.startswith("image/"):
        return f"crc {_checksum(path)}"
    expected = None if old is None else known.of(name.removeprefix("image/"))
    if expected is None:
        return f"{stamp[0]} bytes of {stamp[1]}"
    crc = _checksum(path)
    return old if crc == expected and old else f"crc {crc}"


class _Checksums:
    """Checksums of the photographs as they were indexed, read when the first is asked for."""

    def __init__(self, dataset: str, source: str) -> None:
        self.index, self.source = Path("results", dataset, "index.json"), source
        self._found: dict[str, int] | None = None

    def of(self, name: str) -> int | None:
        """That of a photograph, by its name below the source; None where it is not indexed."""
        if self._found is None:
            index = read_record(self.index)
            root = self.index.parent / index.get("info", {}).get("image_root", "")
            below = os.path.relpath(os.path.realpath(root), os.path.realpath(self.source))
            self._found = {
                os.path.normpath(os.path.join(below, image["file_name"])): image["crc32"]
                for image in index.get("images", [])
                if "crc32" in image
            }
        return self._found.get(name)


def _files(layout: str, paths: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(name in the record, path) of what the reader of a layout reads."""
    source = Path(paths["source"])
    for name in Walk(source).images():
        # VOC's folder has others, of which no reader takes notice.
        if layout != "voc" or source.name == "JPEGImages" or "JPEGImages" in Path(name).parts:
            yield f"image/{name}", os.path.join(source, name)
    if layout == "voc":
        yield from _texts("source", source.parent if source.name == "JPEGImages" else source)
    if layout == "flickr30k" and "annotations" not in paths:
        yield from _texts("source", source)
        for sentences in sorted(source.parent.glob("*/Sentences")):
            yield from _texts(sentences.parent.name, sentences.parent)
    for kind, path in paths.items():
        if kind != "source" and os.path.isdir(path):
            yield from _texts(kind, Path(path))
        elif kind != "source":
            yield kind, path


def _texts(kind: str, folder: Path) -> Iterator[tuple[str, str]]:
    seen: set[tuple[int, int]] = set()
    for here, subfolders, names in os.walk(folder, followlinks=True):
        if not is_new(Path(here), seen):
            subfolders.clear()  # a link led back here
            continue
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        for name in names:
            if name.lower().endswith(_TEXTS) and not is_hidden(name):
                path = os.path.join(here, name)
                yield f"{kind}/{os.path.relpath(path, folder)}", path


def _checksum(path: str) -> int:
    crc = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc
