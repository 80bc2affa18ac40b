"""Masks as COCO has them in results: run lengths, in a text."""

from __future__ import annotations

from typing import Any

import numpy as np

Rle = dict[str, Any]


def encode_mask(mask: np.ndarray) -> Rle:
    """A mask (H, W) bool as {"size": [H, W], "counts"}, which pycocotools reads."""
    from pycocotools import mask as coco  # here, since few stages read masks

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def decode_mask(rle: Rle) -> np.ndarray:
    """(H, W) bool.

    Raises:
        ValueError: it is no such record.
    """
    from pycocotools import mask as coco

    if not is_rle(rle):
        raise ValueError("not a mask of run lengths")
    return coco.decode(rle).astype(bool)


def is_rle(given: Any) -> bool:
    """Whether this looks like what `encode_mask` gives."""
    return (
        isinstance(given, dict)
        and isinstance(given.get("counts"), str)
        and isinstance(given.get("size"), list)
        and len(given["size"]) == 2
        and all(type(side) is int and side > 0 for side in given["size"])
    )
