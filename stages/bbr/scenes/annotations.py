"""COCO annotations of a scene: its objects' boxes, with the phrases that mention them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..storage.rle import encode_mask
from .categories import CATEGORY_IDS
from .compose import Scene, SceneObject


def annotate(
    scene: Scene, image_id: int, phrase_id: int, masks: bool = False
) -> list[dict[str, Any]]:
    """COCO annotations, without ids: one for each object of each mention.

    A mention's phrase id is its number in the dataset, the first of this scene being `phrase_id`.
    Objects of a scene that nothing mentions have their boxes alone. With `masks` each has its
    visible pixels too, as "segmentation" in COCO's run lengths.
    """
    if not scene.mentions:
        return [_annotation(thing, image_id, masks) for thing in scene.objects]
    return [
        _annotation(scene.objects[thing], image_id, masks)
        | {"phrase_id": number, "phrases": mention.phrases}
        for number, mention in enumerate(scene.mentions, phrase_id)
        for thing in mention.objects
    ]


def _annotation(thing: SceneObject, image_id: int, masks: bool) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "bbox": list(thing.bbox_xywh),
        "area": int(np.count_nonzero(thing.mask)),
        "category_id": CATEGORY_IDS[thing.category],
        "iscrowd": 0,
        **({"segmentation": encode_mask(thing.mask)} if masks else {}),
    }
