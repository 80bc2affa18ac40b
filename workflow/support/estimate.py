"""How long a folder of photographs will take, said before it starts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .configuration import MINE
from .sections import Config

# One core's seconds for each megapixel of a photograph as it is shrunk for f; measured on 32 and 6
# photographs of 1,024 × 768 pixels (docs/performance.md).
_SECONDS = {"dinov2_vits14": 1.3, "dino_vits16": 3.0}
_DECODED = 0.02  # for each megapixel of the file, which is read twice
_EACH = 0.1  # the heuristic, writing and drawing, for each photograph
_STARTS = 20  # of Python and torch in each job
_MAX_SIDE = 1024  # to which an index shrinks photographs
_LOOKED_AT = 200  # photographs whose headers are read, at most


def will_extract(jobs: Iterable[Any], backbone: str) -> bool:
    """Whether features of the user's own photographs are among the jobs that are to run."""
    own = (job for job in jobs if job.rule.name == "extract_own_features")
    return any(job.wildcards.backbone == backbone for job in own)


def line(config: Config, names: Sequence[str], cores: int | None) -> str:
    """How many photographs there are, and about how long their boxes will take.

    Args:
        names: of the photographs, below their folder.
        cores: that the run has; None where jobs run elsewhere.
    """
    count = f"{len(names)} photograph{'s' * (len(names) != 1)}"
    seconds = _SECONDS.get(config["backbone"])
    sizes = _sizes(Path(config["datasets"][MINE]["source"]).expanduser(), names)
    if seconds is None or not sizes or cores is None:
        return count
    used = max(1, min(cores, config["threads"]))
    each = sum(_work(*size, seconds) for size in sizes) / len(sizes)
    minutes = (_STARTS + len(names) * each / used) / 60
    took = f"about {round(minutes)} minutes" if minutes >= 1.5 else "about a minute"
    there = min(cores, len(os.sched_getaffinity(0)))
    hint = f"; threads={there} would use {there}" if there > used else ""
    later = "; refinement comes after that" if config["refine"] else ""
    return f"{count}: {took} for their boxes on {used} core{'s' * (used != 1)}{hint}{later}"


def photographs(record: Path) -> list[str]:
    """The photographs that the record of a folder, a file, lists."""
    return names_in(json.loads(record.read_bytes()))


def names_in(record: dict[str, Any]) -> list[str]:
    """The photographs that the record of a folder lists (`fingerprints.record_source`)."""
    listed = record.get("files", {})
    return [name.removeprefix("image/") for name in listed if name.startswith("image/")]


def _sizes(folder: Path, names: Sequence[str]) -> list[tuple[int, int]]:
    """(height, width) of some of the photographs, those that cannot be read left out."""
    # Here, since every start of the workflow imports this module.
    from PIL import Image

    found = []
    for name in names[:: max(1, -(-len(names) // _LOOKED_AT))]:
        try:
            with Image.open(folder / name) as image:
                found.append((image.height, image.width))
        except Exception:  # whatever Pillow has against it: the index will say so
            continue
    return found


def _work(height: int, width: int, seconds: float) -> float:
    """One core's seconds for a photograph."""
    shrunk = min(1.0, _MAX_SIDE / max(height, width))
    pixels = height * width / 1e6
    return _EACH + 2 * _DECODED * pixels + seconds * pixels * shrunk**2
