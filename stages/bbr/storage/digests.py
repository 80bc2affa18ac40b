"""Digests of downloaded files: known beforehand, part of a file's name, or written down at first.

Where nothing is known of a file, its SHA-256 is written beside it when it first comes
(`FILE.sha256`, as `sha256sum` has it), and must stay the same ever after: trust on first use.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .atomic import write_bytes

# torch's hub and timm: a name such as vgg16-397923af.pth carries the first digits of its SHA-256.
_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


@dataclass(frozen=True)
class Digest:
    """What a file's digest must begin with.

    Attributes:
        algorithm: `sha256` or `md5`.
        digits: hexadecimal; all of the digest, or its beginning.
    """

    algorithm: str
    digits: str


def known_digest(name: str, sha256: str | None = None, md5: str | None = None) -> Digest | None:
    """The digest that is given, or else the one in the file's name, if any."""
    if sha256 or md5:
        return Digest("sha256", sha256) if sha256 else Digest("md5", str(md5))
    found = _IN_NAME.search(name)
    return Digest("sha256", found[1]) if found else None


def file_digest(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def check_digest(path: Path, digest: Digest | None, name: str | None = None) -> str:
    """Check a file, write its SHA-256 beside it, and give it.

    Without a digest it is compared with the one that was written when the file first came.

    Args:
        name: what the file is called once it is complete [as it is].

    Raises:
        InputError: it is another file than it should be.
    """
    name = name or path.name
    sha256 = file_digest(path, "sha256")
    record, first = _record_of(path, name), recorded_digest(path, name)
    if digest is not None:
        found = sha256 if digest.algorithm == "sha256" else file_digest(path, digest.algorithm)
        if not found.startswith(digest.digits):
            raise InputError(
                f"{path}: its {digest.algorithm.upper()} is {found}, not {digest.digits}: damaged,"
                " or another file; remove it, and get it again"
            )
    elif first not in (None, sha256):
        raise InputError(
            f"{path}: its SHA-256 is {sha256}, but it first was {first}; remove it, and get it"
            f" again; or remove {record.name} if you trust this file"
        )
    write_bytes(record, f"{sha256}  {name}\n".encode())
    return sha256


def recorded_digest(path: Path, name: str | None = None) -> str | None:
    """The SHA-256 that was written beside a file when it came, be it there still or not."""
    record = _record_of(path, name or path.name)
    if not record.is_file():
        return None
    return next(iter(record.read_text(encoding="utf-8").split()), "")


def _record_of(path: Path, name: str) -> Path:
    return path.with_name(f"{name}.sha256")
