"""Small files that say what jobs are made from, written while a run is planned."""

from __future__ import annotations

import os
from pathlib import Path


def write_record(path: Path, content: bytes) -> None:
    """Write a file, unless that is what it holds: its date is that of its last change."""
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several runs may do this at once; each replaces the whole.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
