"""A plain folder of images, without annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...command_line.cli import existing_file
from ...errors import InputError
from ...storage.json_files import read_json
from .file_names import FileNames
from .listing import Listing, existing_folder, read_list
from .walk import Walk


def read_folder(source: Path | str, phrases: Path | str | None = None) -> Listing:
    """Every image below a folder, numbered from 1 in the order of their relative paths.

    An image is a file with an ending of `image_files` in any case, or one that begins as an image
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
    walk = Walk(root)
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
