"""What every reader makes of a dataset, before its images are opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import InputError


@dataclass(frozen=True)
class Listing:
    """What a dataset says of itself, before any of its images is opened.

    Attributes:
        root: folder that the file names start from.
        images: id, file_name and, where the dataset states them, width and height in pixels.
        annotations: image_id, bbox [x, y, w, h] in pixels, category_id, area, iscrowd, ...
        categories: id and name.
        sources: files that the listing was read from, by role, for the provenance.
    """

    root: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    categories: list[dict[str, Any]] = field(default_factory=list)
    sources: dict[str, Path] = field(default_factory=dict)

    def only(self, images: Iterable[dict[str, Any]]) -> Listing:
        """The same listing with these images and their annotations alone."""
        images = list(images)
        ids = {image["id"] for image in images}
        kept = [a for a in self.annotations if a["image_id"] in ids]
        return replace(self, images=images, annotations=kept)

    def digest(self) -> str:
        """SHA-256 over the names and sizes in bytes of the image files: stands for the folder."""
        digest = hashlib.sha256()
        for image in self.images:
            path = self.root / image["file_name"]
            size = path.stat().st_size if path.is_file() else "missing"
            digest.update(encode_name(image["file_name"]) + f"\0{size}\n".encode())
        return digest.hexdigest()


def existing_folder(path: Path | str) -> Path:
    """The folder that --source names.

    Raises:
        InputError: there is none.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_dir():
        raise InputError(f"--source {path}: no such folder")
    return path


def encode_name(name: str) -> bytes:
    """UTF-8, also of names that are not Unicode text (what `os.walk` makes of foreign bytes)."""
    return name.encode("utf-8", "surrogatepass")
