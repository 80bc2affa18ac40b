"""Small files that say what jobs are made from, written while a run is planned."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_record(path: Path, content: bytes) -> None:
    """Write a file, unless that is what it holds: its date is that of its last change."""
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several runs may do this at once; each replaces the whole.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where there is none, or none that can be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
