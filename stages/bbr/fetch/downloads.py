"""Files from the web: resumed where they broke off, checked, and complete or absent."""

from __future__ import annotations

import errno
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..command_line.cli import progress
from ..errors import InputError
from ..storage.atomic import require_writable
from ..storage.digests import Digest, check_digest

_AGENT = {"User-Agent": "box-based-refinement"}
_BLOCK = 2**20
_PATIENCE = 60  # seconds
_ATTEMPTS = 5  # each goes on where the last one stopped
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PAUSE = 2.0  # seconds before the second attempt, and more before each further one


class Unreachable(InputError):
    """A file that could not be had, as far as can be told through no fault of its own."""


def download(url: str, path: Path, digest: Digest | None = None) -> str:
    """Fetch a file, unless it is there; either way it is checked.

    What has come of it lies in `path`.part until it is complete, so that a later call goes on.

    Returns:
        Its SHA-256.

    Raises:
        InputError: it is not the file that it should be.
        Unreachable: the server does not answer, or breaks off again and again.
    """
    part = path.with_name(f"{path.name}.part")
    if path.is_file():
        _version_of(part).unlink(missing_ok=True)  # what a run left that was killed at its end
        return check_digest(path, digest)
    require_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _fetch(url, part)
    try:
        sha256 = check_digest(part, digest, path.name)
    except InputError as error:
        part.unlink()
        _version_of(part).unlink(missing_ok=True)
        raise InputError(f"{url}: {error}. It was removed already") from None
    part.replace(path)
    _version_of(part).unlink(missing_ok=True)
    return sha256


def _fetch(url: str, part: Path) -> None:
    """Bring `part` to the file's full length."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            total = _continue(url, part)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise Unreachable(
                    f"{url}: the server answers {error.code} {error.reason}"
                ) from None
            reason = f"the server answers {error.code}"
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in _FULL:
                raise  # no other attempt and no other source would help
            reason = str(getattr(error, "reason", None) or error or type(error).__name__)
        else:
            size = part.stat().st_size
            if total is None or size == total:
                return
            reason = f"it ended after {size} of {total} bytes"
        if attempt < _ATTEMPTS:
            time.sleep(_PAUSE * attempt)
    raise Unreachable(f"{url}: {reason}; run again, and it goes on from there")


def _continue(url: str, part: Path) -> int | None:
    """One request for what is missing; the file's full length where the server tells it."""
    start = part.stat().st_size if part.is_file() else 0
    headers = dict(_AGENT)
    if start:
        headers["Range"] = f"bytes={start}-"
        if _version_of(part).is_file():  # else a file that has changed since would be joined to it
            headers["If-Range"] = _version_of(part).read_text(encoding="utf-8")
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_PATIENCE
        )
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            # Either all of it is there, or what is there is of another file.
            if _length_in(error.headers.get("Content-Range")) == start:
                return start
            part.unlink()
            _version_of(part).unlink(missing_ok=True)
            return _continue(url, part)
        raise
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        _note_version(part, response)
        total = _total(response, start if resumed else 0)
        with open(part, "ab" if resumed else "wb") as file:
            what = f"MiB of {part.name.removesuffix('.part')}"
            blocks = None if total is None else -(-(total - file.tell()) // _BLOCK)
            for block in progress(_blocks(response), blocks, what):
                file.write(block)
    return total


def _version_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _note_version(part: Path, response: http.client.HTTPResponse) -> None:
    """Write down which version of the file this is, as far as the server says."""
    etag = response.headers.get("ETag") or "W/"
    version = response.headers.get("Last-Modified") if etag.startswith("W/") else etag
    if version is not None:
        _version_of(part).write_text(version, encoding="utf-8")


def _blocks(response: IO[bytes]) -> Iterator[bytes]:
    while block := response.read(_BLOCK):
        yield block


def _total(response: http.client.HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length")
    return None if length is None else start + int(length)


def _length_in(content_range: str | None) -> int | None:
    """`bytes */1234` to 1234."""
    length = (content_range or "").rpartition("/")[2]
    return int(length) if length.isdecimal() else None


def require_space(folder: Path, gigabytes: float) -> None:
    """Check that so much more fits on a disk.

    Raises:
        InputError: it does not.
    """
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free / 1e9
    if free < gigabytes:
        raise InputError(
            f"{folder}: has {free:.1f} GB left, and {gigabytes:g} GB are needed; make it a link to"
            " a larger disk"
        )
