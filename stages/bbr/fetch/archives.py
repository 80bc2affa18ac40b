"""Archives unpacked as a whole or not at all, and never outside the folder that is meant."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ..errors import InputError

_DRIVE = re.compile(r"[A-Za-z]:")


def extract(archive: Path, take: Mapping[str, str], folder: Path) -> None:
    """Unpack parts of a zip or tar archive, each of which appears complete.

    Args:
        take: where in `folder` each folder or file of the archive is to lie. What is there already
            is left alone; what else the archive holds is dropped.

    Raises:
        InputError: the archive is damaged, lacks a part, or a path in it leads out of the folder;
            nothing is unpacked then.
    """
    missing = {inside: folder / place for inside, place in take.items()}
    missing = {inside: place for inside, place in missing.items() if not place.exists()}
    scratch = folder / f".{archive.name}.unpacking"
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed run left
    if not missing:
        return
    try:
        _unpack(archive, scratch, tuple(missing))
        for inside in missing:
            if not (scratch / inside).exists():
                raise InputError(f"{archive}: holds no {inside}; it is another archive")
        for inside, place in missing.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(scratch / inside, place)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise InputError(f"{archive}: not a complete archive ({error}); remove it") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack(archive: Path, scratch: Path, wanted: tuple[str, ...]) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            names = file.namelist()
            _refuse_climbing(archive, names)
            file.extractall(scratch, [n for n in names if _within(n, wanted)])
        return
    with tarfile.open(archive) as file:
        members = file.getmembers()
        _refuse_climbing(archive, [member.name for member in members])
        links = [m.name for m in members if not (m.isfile() or m.isdir())]
        if links:
            raise InputError(f"{archive}: holds {links[0]}, a link or device; not unpacked")
        chosen = [m for m in members if _within(m.name, wanted)]
        file.extractall(scratch, chosen, filter="data")


def _refuse_climbing(archive: Path, names: list[str]) -> None:
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or _DRIVE.match(name):
            raise InputError(
                f"{archive}: holds the path {name!r}, which leads out of the folder; not unpacked"
            )


def _within(name: str, wanted: tuple[str, ...]) -> bool:
    path = PurePosixPath(name)
    return any(path == PurePosixPath(w) or PurePosixPath(w) in path.parents for w in wanted)
