"""The images below a folder. Nothing but the standard library is imported; see `image_files`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ..image_files import EXTENSIONS, RAW_EXTENSIONS, begins_as_image

# Of archives from macOS, and of network storage.
_JUNK = frozenset(("@eaDir", "__MACOSX", "#recycle", "@Recycle", "$RECYCLE.BIN", "lost+found"))


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the user's: hidden, of a waste basket, a thumbnail."""
    return name.startswith(".") or name in _JUNK


@dataclass
class Walk:
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
            if not is_new(folder, seen):
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
                elif is_new(here / name, seen):
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


def is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder is not among those seen, to which it is then added."""
    found = folder.stat()
    here = (found.st_dev, found.st_ino)
    if here in seen:
        return False
    seen.add(here)
    return True
