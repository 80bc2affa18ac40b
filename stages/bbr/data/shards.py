"""Shards of one run: each image is in one of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError


def claim(image_ids: Iterable[int], path: Path, owners: dict[int, Path]) -> None:
    """Note in `owners` that these images are in the file `path`.

    Raises:
        InputError: one of them is in another file already.
    """
    for image_id in image_ids:
        if image_id in owners:
            raise InputError(
                f"image {image_id} is in both {owners[image_id]} and {path}: "
                "name each shard once, and shards of one run"
            )
        owners[image_id] = path
