"""A plain folder of images, without annotations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from ...command_line.cli import existing_file
from ...errors import InputError
from ...storage.json_files import read_json
from ..images import EXTENSIONS
from .listing import Listing, existing_folder, read_list


def read_folder(source: Path | str, phrases: Path | str | None = None) -> Listing:
    """Every image below a folder, numbered from 1 in the order of their relative paths.

    An image is a file with one of `images.EXTENSIONS` in any case. Hidden files and folders
    (their name begins with a dot) and links to folders are passed over.

    Args:
        phrases: what to look for: a text file of phrases, one a line, to be asked of every image;
            or a JSON file, an object of a list of phrases for each file name.

    Raises:
        InputError: no such folder, or it holds no image, or `phrases` is not such a file.
    """
    root = existing_folder(source)
    names = sorted(_walk_images(root))
    if not names:
        endings = " ".join(sorted(ending[1:] for ending in EXTENSIONS))
        raise InputError(f"{root}: no images in it or below (looked for {endings})")
    images: list[dict[str, Any]] = [{"id": i, "file_name": name} for i, name in enumerate(names, 1)]
    if phrases is None:
        return Listing(root, images)
    path = existing_file(phrases, "--phrases")
    asked = _phrases(path, names)
    images = [{**image, "phrases": asked.get(image["file_name"], [])} for image in images]
    return Listing(root, images, sources={"phrases": path})


def _phrases(path: Path, names: list[str]) -> dict[str, list[str]]:
    """The phrases of each file name."""
    if path.suffix.lower() != ".json":
        return dict.fromkeys(names, read_list(path))
    content = read_json(path)
    if not isinstance(content, dict) or not all(
        isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        for texts in content.values()
    ):
        raise InputError(f"{path}: not an object of a list of phrases for each file name")
    unknown = sorted(content.keys() - set(names))
    if unknown:
        raise InputError(
            f"{path}: {len(unknown)} of its {len(content)} file names, such as {unknown[0]}, are"
            " not images of the folder"
        )
    return content


def _walk_images(root: Path) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise error

    for folder, subfolders, names in os.walk(root, onerror=fail):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and PurePath(name).suffix.lower() in EXTENSIONS:
                yield Path(folder, name).relative_to(root).as_posix()
