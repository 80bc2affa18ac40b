"""Numbers as annotation files have them: texts, fractions that are whole, or nothing."""

from __future__ import annotations

import math
from typing import Any

# Beyond any image, and well inside the range of int32 pixel coordinates.
_FARTHEST_PIXEL = 1e9
SIZE_MEASURED = "image without a usable size: measured"


def number(value: Any) -> int | float | None:
    """A finite number of pixels, an integer where it is whole; None of anything else."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(found) or abs(found) >= _FARTHEST_PIXEL:
        return None
    return int(found) if found.is_integer() else found


def whole(value: Any) -> int | None:
    """An integer, also of text or where a fraction is none; None of anything else."""
    if type(value) is int:
        return value  # exact, however long
    found = number(value)
    return found if isinstance(found, int) else None


def positive_int(value: Any) -> int | None:
    """The side of an image; None where it is unknown."""
    found = whole(value)
    return found if found is not None and found > 0 else None
