"""Masks as COCO has them in results: run lengths, in a text.

Whatever reads boxes imports this: NumPy and pycocotools are imported where masks are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    import numpy as np

Rle = dict[str, Any]


def encode_mask(mask: np.ndarray) -> Rle:
    """A mask (H, W) bool as {"size": [H, W], "counts"}, which pycocotools reads."""
    from pycocotools import mask as coco

    encoded = coco.encode(mask.astype("uint8", order="F"))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def decode_mask(rle: Rle) -> np.ndarray:
    """(H, W) bool.

    Raises:
        InputError: it is no such record, or a damaged one.
    """
    from pycocotools import mask as coco

    # Of damaged run lengths pycocotools makes any mask, or compares them without an end.
    if not is_rle(rle) or _pixels(rle["counts"]) != rle["size"][0] * rle["size"][1]:
        raise InputError("a mask's run lengths are not those of a mask of its size; make it again")
    return coco.decode(rle).astype(bool)


def _pixels(counts: str) -> int | None:
    """How many pixels run lengths cover; None where the text holds no run lengths.

    A number is written in groups of five bits, the lowest first; a sixth says that more follow, and
    from the fourth number on it is the difference to the last but one.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16 and 1) << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return None if shift or min(runs, default=-1) < 0 else sum(runs)


def is_rle(given: Any) -> bool:
    """Whether this looks like what `encode_mask` gives."""
    return (
        isinstance(given, dict)
        and isinstance(given.get("counts"), str)
        and isinstance(given.get("size"), list)
        and len(given["size"]) == 2
        and all(type(side) is int and side > 0 for side in given["size"])
    )
