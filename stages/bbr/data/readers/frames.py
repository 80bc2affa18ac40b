"""Which frame annotations lie in: the image as its file has it, or as EXIF's orientation turns it.

Viewers turn photographs upright, many annotation tools do not, and files of annotations rarely say
which it was. The size that they state tells, where the orientation changes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..images import Look

FRAMES = ("auto", "upright", "stored")

# A point (x, y) of the stored image, of width w and height h, in the upright one, by orientation.
_TURNS = {
    1: lambda x, y, w, h: (x, y),
    2: lambda x, y, w, h: (w - x, y),
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, w, h: (x, h - y),
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (y, w - x),
}


def fits(stated: Mapping[str, Any], look: Look, frame: str) -> bool:
    """Whether an image is of the size that its annotation states, in a frame that it may mean.

    Args:
        stated: the image's entry, with width and height where the dataset has them.
        frame: one of `FRAMES`; auto allows both.
    """
    sizes = {"upright": (look.height, look.width), "stored": look.stored_size}
    allowed = list(sizes.values()) if frame == "auto" else [sizes[frame]]
    return any(
        (stated.get("height", height), stated.get("width", width)) == (height, width)
        for height, width in allowed
    )


def is_turned(stated: Mapping[str, Any], look: Look, frame: str) -> bool:
    """Whether the annotations of an image lie in the stored frame: as told, or as its size says."""
    return frame == "stored" or (frame == "auto" and not fits(stated, look, "upright"))


def is_doubtful(stated: Mapping[str, Any], look: Look, frame: str) -> bool:
    """Whether the two frames differ, and neither the size nor `frame` says which is meant."""
    both = fits(stated, look, "upright") and fits(stated, look, "stored")
    return frame == "auto" and look.orientation != 1 and both


def turn_box(bbox: Sequence[float], look: Look) -> list[float]:
    """A box [x, y, w, h] of the stored image in the upright one, in pixels."""
    height, width = look.stored_size
    x, y, w, h = bbox
    turn = _TURNS[look.orientation]
    corners = [turn(x, y, width, height), turn(x + w, y + h, width, height)]
    (left, right), (top, bottom) = (sorted(side) for side in zip(*corners, strict=True))
    return [left, top, right - left, bottom - top]
