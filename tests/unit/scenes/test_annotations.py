"""Annotations of a scene, by hand."""

from __future__ import annotations

import numpy as np

from bbr.scenes.annotations import annotate
from bbr.scenes.captions import Mention
from bbr.scenes.categories import CATEGORY_IDS
from bbr.scenes.compose import Scene, SceneObject

CATEGORY, CATEGORY_ID = next(iter(CATEGORY_IDS.items()))


def thing(x: int, pixels: int) -> SceneObject:
    mask = np.zeros((8, 8), bool)
    mask.flat[:pixels] = True
    return SceneObject(CATEGORY, (x, 0, 4, 3), 1.0, mask)


def scene(*mentions: Mention) -> Scene:
    objects = [thing(0, 9), thing(4, 12)]
    return Scene(np.zeros((8, 8, 3), np.uint8), objects, list(mentions), [])


def test_objects_that_nothing_mentions() -> None:
    first, second = annotate(scene(), 7, 1)
    assert first == {
        "image_id": 7,
        "bbox": [0, 0, 4, 3],
        "area": 9,
        "category_id": CATEGORY_ID,
        "iscrowd": 0,
    }
    assert (second["bbox"], second["area"]) == ([4, 0, 4, 3], 12)


def test_a_mention_is_an_annotation_for_each_of_its_objects() -> None:
    found = annotate(scene(Mention(["both"], [0, 1]), Mention(["right"], [1])), 7, 5)
    named = [(a["phrase_id"], a["phrases"], a["bbox"][0]) for a in found]
    assert named == [(5, ["both"], 0), (5, ["both"], 4), (6, ["right"], 4)]
