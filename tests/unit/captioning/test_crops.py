"""Crops to learn captions from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bbr.captioning.crops import BACKGROUND, Crop, draw_crops, text_of
from bbr.data.index import Index

SIDE = 100
MUG, DISC = [10, 20, 30, 40], [60, 50, 30, 30]  # xywh


def index(*mentions: tuple[list[int], int, list[str]], images: int = 1) -> Index:
    """The same objects in each image: box, phrase id, texts."""
    return Index(
        [{"id": i, "file_name": f"{i}.png", "width": SIDE, "height": SIDE} for i in range(images)],
        [
            {"image_id": i, "phrase_id": p, "bbox": box, "phrases": texts}
            for i in range(images)
            for box, p, texts in mentions
        ],
        [],
        {},
        Path("index.json"),
    )


TWO = index(
    (MUG, 1, ["A red mug"]),
    (MUG, 2, ["red mug with a blue handle"]),
    (DISC, 3, ["a disc", "disc"]),
    images=60,
)


def share(box: tuple[int, ...], xywh: list[int]) -> float:
    """Of an object's pixels, those in a crop; counted one by one."""
    x, y, width, height = xywh
    inside = [
        box[0] <= column < box[2] and box[1] <= row < box[3]
        for column in range(x, x + width)
        for row in range(y, y + height)
    ]
    return sum(inside) / len(inside)


def test_texts_are_of_what_a_crop_shows() -> None:
    crops = draw_crops(TWO, objects=3, windows=6, seed=0)
    kinds = set()
    for crop in crops:
        x1, y1, x2, y2 = crop.box
        assert 0 <= x1 < x2 <= SIDE
        assert 0 <= y1 < y2 <= SIDE
        assert (x2 - x1) * (y2 - y1) >= 0.08 * SIDE * SIDE
        mug, disc = share(crop.box, MUG), share(crop.box, DISC)
        assert ("a red mug" in sum(crop.texts, ())) == (mug >= 0.6)
        assert ("a disc" in sum(crop.texts, ())) == (disc >= 0.6)
        if not crop.texts:
            assert max(mug, disc) <= 0.15
        kinds.add(len(crop.texts))
    assert kinds == {0, 1, 2}


def test_what_shows_most_is_named_first() -> None:
    both = [c for c in draw_crops(TWO, 1, 20, 1) if len(c.texts) == 2]
    for crop in both:
        shown = share(crop.box, MUG) * 1200, share(crop.box, DISC) * 900
        if abs(shown[0] - shown[1]) > 1:
            assert ("mug" in crop.texts[0][0]) == (shown[0] > shown[1])
    assert both


def test_words_for_places_and_groups_are_left_out() -> None:
    said = index(
        (MUG, 1, ["the mug left of the disc"]),
        (MUG, 2, ["a mug"]),
        (MUG, 3, ["mug on the top"]),
        (MUG, 4, ["mug with a black top"]),
        (DISC, 5, ["disc below the mug"]),
        (MUG, 6, ["two things"]),
        (DISC, 6, ["two things"]),
    )
    texts = {t for c in draw_crops(said, 9, 9, 0) for of_object in c.texts for t in of_object}
    assert texts == {"a mug", "mug with a black top"}


def test_the_crops_of_an_image_depend_on_nothing_else() -> None:
    few = draw_crops(index((MUG, 1, ["a mug"]), images=2), 2, 2, 0)
    many = draw_crops(index((MUG, 1, ["a mug"]), images=5), 2, 2, 0)
    assert few == [crop for crop in many if crop.position < 2]
    assert few != draw_crops(index((MUG, 1, ["a mug"]), images=2), 2, 2, 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_text_names_each_object_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    crop = Crop(0, (0, 0, 9, 9), (("a mug", "red mug"), ("a disc",)))
    assert text_of(crop, rng) in ("a mug and a disc", "red mug and a disc")
    assert text_of(Crop(0, (0, 0, 9, 9), ()), rng) == BACKGROUND
