"""Which images of a dataset are shown."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from .index import Index


def choose_images(
    index: Index, count: int, seed: int | None, ids: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """Some images of an index, in its order: the first ones, or a random choice with a seed.

    Nothing but their number enters the choice, the ground truth least of all.

    Args:
        index: images to choose from.
        count: how many; all, where there are fewer.
        seed: of the choice; None for the first ones.
        ids: these instead, in this order.

    Raises:
        InputError: the index has no image of one of `ids`.
    """
    if ids:
        by_id = {image["id"]: image for image in index.images}
        unknown = [i for i in ids if i not in by_id]
        if unknown:
            raise InputError(f"{index.path}: has no image of id {unknown[0]}")
        return [by_id[i] for i in ids]
    images = index.images
    if seed is None or count >= len(images):
        return images[:count]
    return [images[i] for i in sorted(random.Random(seed).sample(range(len(images)), count))]
