"""What every reader makes of a dataset, before its images are opened."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...storage.text_files import read_text
from ..image_files import EXTENSIONS


@dataclass(frozen=True)
class Listing:
    """What a dataset says of itself, before any of its images is opened.

    Attributes:
        root: folder that the file names start from.
        images: id, file_name and, where the dataset states them, width and height in pixels.
        annotations: image_id, bbox [x, y, w, h] in pixels, category_id, area, iscrowd, ...
        categories: id and name.
        sources: files that the listing was read from, by role, for the provenance.
        left_out: [{"image_id", "phrase_id", "reason"}], phrases that have no box to find.
        notes: [{"image_id", "what"}], what of the dataset is not used, or not as it stands there;
            image_id is None of what belongs to no image.
        unusable: [{"file_name", "reason"}], images that are known to be of no use.
    """

    root: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    categories: list[dict[str, Any]] = field(default_factory=list)
    sources: dict[str, Path] = field(default_factory=dict)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    unusable: list[dict[str, str]] = field(default_factory=list)

    def only(self, images: Iterable[dict[str, Any]]) -> Listing:
        """The same listing with these images and their annotations alone."""
        images = list(images)
        ids = {image["id"] for image in images}
        kept = [a for a in self.annotations if a["image_id"] in ids]
        left_out = [entry for entry in self.left_out if entry["image_id"] in ids]
        notes = [note for note in self.notes if note["image_id"] in {*ids, None}]
        return replace(self, images=images, annotations=kept, left_out=left_out, notes=notes)

    def count_notes(self) -> dict[str, int]:
        """How often each thing was noted."""
        return dict(sorted(Counter(note["what"] for note in self.notes).items()))

    def with_texts(self, most: int) -> Listing:
        """The same listing with at most so many captions, and phrase ids, of each image.

        Which ones is drawn at random, from the image's id alone, so that it stays the same.
        """
        images, kept = [], set()
        phrases: dict[int, dict[int, None]] = {}
        for annotation in self.annotations:
            if "phrase_id" in annotation:
                phrases.setdefault(annotation["image_id"], {})[annotation["phrase_id"]] = None
        for image in self.images:
            draw = random.Random(image["id"])
            of_image = _drawn(list(phrases.get(image["id"], ())), most, draw)
            kept |= {(image["id"], phrase) for phrase in of_image}
            if "captions" in image:
                image = {**image, "captions": _drawn(image["captions"], most, draw)}
            images.append(image)
        annotations = [
            a
            for a in self.annotations
            if "phrase_id" not in a or (a["image_id"], a["phrase_id"]) in kept
        ]
        return replace(self, images=images, annotations=annotations)

    def count_phrases(self) -> dict[str, Any]:
        """How many phrase ids, phrases and boxes there are, and phrases left out by reason."""
        words = {(a["image_id"], a["phrase_id"]): a["phrases"] for a in self.annotations}
        reasons = Counter(entry["reason"] for entry in self.left_out)
        return {
            "phrase_ids": len(words),
            "phrases": sum(map(len, words.values())),
            "boxes": len(self.annotations),
            "left_out": dict(sorted(reasons.items())),
        }

    def digest(self) -> str:
        """SHA-256 over the names and sizes in bytes of the image files: stands for the folder."""
        digest = hashlib.sha256()
        for image in self.images:
            path = self.root / image["file_name"]
            size = path.stat().st_size if path.is_file() else "missing"
            digest.update(encode_name(image["file_name"]) + f"\0{size}\n".encode())
        return digest.hexdigest()


def _drawn(items: list[Any], most: int, draw: random.Random) -> list[Any]:
    """At most so many of them, in their order."""
    if len(items) <= most:
        return items
    return [items[i] for i in sorted(draw.sample(range(len(items)), most))]


def existing_folder(path: Path | str) -> Path:
    """The folder that --source names.

    Raises:
        InputError: there is none.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_dir():
        raise InputError(f"--source {path}: no such folder")
    return path


def numbered_files(root: Path) -> dict[int, str]:
    """Photographs {number}.jpg, or of another ending, in a folder or below it, by number."""
    found = sorted(root.rglob("*.*"), key=lambda file: (len(file.parts), file))
    return {
        int(file.stem): file.relative_to(root).as_posix()
        for file in reversed(found)
        if file.stem.isdecimal() and file.suffix.lower() in EXTENSIONS
    }


def read_list(path: Path, what: str = "images") -> list[str]:
    """The lines of a list of images, ids or phrases, empty ones left out.

    Raises:
        InputError: it cannot be read, or lists nothing; `what` is said to be missing then.
    """
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: lists no {what}")
    return lines


def encode_name(name: str) -> bytes:
    """UTF-8, also of names that are not Unicode text (what `os.walk` makes of foreign bytes)."""
    return name.encode("utf-8", "surrogatepass")
