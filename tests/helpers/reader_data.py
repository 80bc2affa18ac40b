"""What tests of readers write and compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from bbr.data.readers.listing import Listing


def photo(path: Path, width: int = 20, height: int = 10) -> None:
    """A photograph, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), "green").save(path)


def dump(path: Path, content: Any) -> Path:
    """A text as it is, or else JSON, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def phrases(listing: Listing) -> list[tuple[int, int, list[str], list[float]]]:
    """Image, phrase id, texts and box of each annotation."""
    return [(a["image_id"], a["phrase_id"], a["phrases"], a["bbox"]) for a in listing.annotations]
