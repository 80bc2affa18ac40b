"""A plain folder of images, without annotations."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from ...command_line.cli import existing_file
from ...errors import InputError
from ...storage.json_files import read_json
from ..images import EXTENSIONS, RAW_EXTENSIONS, begins_as_image
from .file_names import FileNames, is_hidden
from .listing import Listing, existing_folder, read_list


def read_folder(source: Path | str, phrases: Path | str | None = None) -> Listing:
    """Every image below a folder, numbered from 1 in the order of their relative paths.

    An image is a file with one of `images.EXTENSIONS` in any case, or one that begins as an image
    does. Left out and noted, with their number: hidden files and folders (their name begins with a
    dot), thumbnails and waste baskets of NAS systems, and files of other kinds. Links to folders
    are followed, each folder once.

    Args:
        phrases: what to look for: a text file of phrases, one a line, to be asked of every image;
            or a JSON file, an object of a list of phrases for each file name.

    Raises:
        InputError: no such folder, or it holds no image, or `phrases` is not such a file.
    """
    root = existing_folder(source)
    walk = _Walk(root)
    names = sorted(walk.images())
    notes = [{"image_id": None, "what": what} for what in walk.passed_over.elements()]
    if not names:
        seen = ", ".join(f"{n} × {what}" for what, n in walk.passed_over.most_common(3))
        raise InputError(f"{root}: no images in it or below{f' (seen: {seen})' if seen else ''}")
    images: list[dict[str, Any]] = [{"id": i, "file_name": name} for i, name in enumerate(names, 1)]
    if phrases is None:
        return Listing(root, images, notes=notes, unusable=walk.unusable)
    path = existing_file(phrases, "--phrases")
    asked = _phrases(path, names, root)
    images = [{**image, "phrases": asked.get(image["file_name"], [])} for image in images]
    return Listing(root, images, sources={"phrases": path}, notes=notes, unusable=walk.unusable)


def _phrases(path: Path, names: list[str], root: Path) -> dict[str, list[str]]:
    """The phrases of each file name."""
    if path.suffix.lower() != ".json":
        return dict.fromkeys(names, read_list(path, "phrases"))
    content = read_json(path)
    if not isinstance(content, dict) or not all(
        isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        for texts in content.values()
    ):
        raise InputError(f"{path}: not an object of a list of phrases for each file name")
    if not any(content.values()):
        raise InputError(f"{path}: lists no phrases")
    files, known = FileNames(root), set(names)
    found = {name: files.find(name) for name in content}
    unknown = sorted(name for name, file in found.items() if file not in known)
    if unknown:
        raise InputError(
            f"{path}: {len(unknown)} of its {len(content)} file names, such as {unknown[0]}, are"
            " not images of the folder"
        )
    return {str(found[name]): texts for name, texts in content.items()}


@dataclass
class _Walk:
    """The files below a folder, as they are met.

    Attributes:
        passed_over: how many files, or folders, by reason.
        unusable: images that cannot be read, as `Listing.unusable`.
    """

    root: Path
    passed_over: Counter[str] = field(default_factory=Counter)
    unusable: list[dict[str, str]] = field(default_factory=list)

    def images(self) -> Iterator[str]:
        """Names relative to the root; the folders that links lead to come after all others."""
        seen: set[tuple[int, int]] = set()
        waiting = [self.root]
        while waiting:
            folder = waiting.pop(0)
            if not _is_new(folder, seen):
                self.passed_over["a link to a folder that is read already"] += 1
                continue
            yield from self._below(folder, seen, waiting)

    def _below(self, top: Path, seen: set[tuple[int, int]], links: list[Path]) -> Iterator[str]:
        for folder, subfolders, names in os.walk(top, onerror=self._note_unread):
            here = Path(folder)
            kept = []
            for name in sorted(subfolders):
                if is_hidden(name):
                    self.passed_over["a hidden folder, or one of thumbnails or waste"] += 1
                elif (here / name).is_symlink():
                    links.append(here / name)
                elif _is_new(here / name, seen):
                    kept.append(name)
            subfolders[:] = kept
            for name in sorted(names):
                if self._is_image(here / name):
                    yield (here / name).relative_to(self.root).as_posix()

    def _is_image(self, path: Path) -> bool:
        """Whether to try a file; what is not tried is counted or listed."""
        ending = path.suffix.lower()
        if is_hidden(path.name):
            self.passed_over["a hidden file"] += 1
        elif ending in RAW_EXTENSIONS:
            name = path.relative_to(self.root).as_posix()
            reason = "a camera's raw file; export it as JPEG or TIFF"
            self.unusable.append({"file_name": name, "reason": reason})
        elif ending in EXTENSIONS or begins_as_image(path):
            return True
        else:
            self.passed_over[f"not an image ({PurePath(path).suffix or 'no ending'})"] += 1
        return False

    def _note_unread(self, error: OSError) -> None:
        if error.filename == str(self.root):
            raise error
        self.passed_over[f"a folder that cannot be read ({error.strerror})"] += 1


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder is not among those seen, to which it is then added."""
    found = folder.stat()
    here = (found.st_dev, found.st_ino)
    if here in seen:
        return False
    seen.add(here)
    return True
