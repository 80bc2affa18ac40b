"""A plain folder of images, without annotations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from ..errors import InputError
from ..images import EXTENSIONS
from .listing import Listing, existing_folder


def read_folder(source: Path | str) -> Listing:
    """Every image below a folder, numbered from 1 in the order of their relative paths.

    An image is a file with one of `images.EXTENSIONS` in any case. Hidden files and folders
    (their name begins with a dot) and links to folders are passed over.

    Raises:
        InputError: no such folder, or it holds no image.
    """
    root = existing_folder(source)
    names = sorted(_walk_images(root))
    if not names:
        endings = " ".join(sorted(ending[1:] for ending in EXTENSIONS))
        raise InputError(f"{root}: no images in it or below (looked for {endings})")
    return Listing(root, [{"id": i, "file_name": name} for i, name in enumerate(names, 1)])


def _walk_images(root: Path) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise error

    for folder, subfolders, names in os.walk(root, onerror=fail):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and PurePath(name).suffix.lower() in EXTENSIONS:
                yield Path(folder, name).relative_to(root).as_posix()
