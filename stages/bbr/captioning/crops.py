"""Crops of images with texts of what is in them, to train a captioner on.

They are like the regions that it is to describe: most hold an object and some of what is around it,
some several objects, some none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.index import Index
from ..data.phrases import Phrase, index_phrases
from ..scenes.phrases import RELATIONS, SIDES

BACKGROUND = "a photo of the background"
_SEEN, _HIDDEN = 0.6, 0.15  # shares of an object's box: it is in a crop from here on, or up to here
_MAX_NAMED = 2  # objects in one text
_MIN_AREA = 0.08  # of a crop, as a share of the image's
_MARGIN = 0.5  # greatest, on each side of an object's box, as a share of that side
_TRIM = 0.15  # greatest that is cut off instead
# Words that say where an object is; a crop does not show it.
_PLACES = tuple(f" {place} " for place in (*RELATIONS, *(f"the {side}" for side in SIDES)))


@dataclass(frozen=True)
class Crop:
    """A region of an image, and its words.

    Attributes:
        position: of the image in `index.images`.
        box: (4,) int xyxy in pixels.
        texts: what may be said of each object in it, the largest first; none for background.
    """

    position: int
    box: tuple[int, int, int, int]
    texts: tuple[tuple[str, ...], ...]


def text_of(crop: Crop, rng: np.random.Generator) -> str:
    """One of the texts of each object of a crop, joined."""
    if not crop.texts:
        return BACKGROUND
    return " and ".join(str(rng.choice(list(texts))) for texts in crop.texts)


def draw_crops(index: Index, objects: int, windows: int, seed: int) -> list[Crop]:
    """Crops of every image of an index: around each object, and windows anywhere.

    Args:
        objects: crops around each object.
        windows: of each image; those that show an object in part are left out.
        seed: the crops of an image depend on this and on its place in the index alone.
    """
    phrases: dict[int, list[Phrase]] = {}
    for phrase in index_phrases(index):
        if len(phrase.boxes) == 1:  # a group's words fit none of its members
            phrases.setdefault(phrase.image_id, []).append(phrase)
    crops = []
    for position, image in enumerate(index.images):
        rng = np.random.default_rng([seed, position])
        height, width = index.image_size(image)
        boxes, texts = _objects(phrases.get(image["id"], []))
        drawn = [_around(box, height, width, rng) for box in boxes for _ in range(objects)]
        drawn += [_window(height, width, rng) for _ in range(windows)]
        for box in drawn:
            named = _named(box, boxes)
            if named is not None and _area(box) >= _MIN_AREA * height * width:
                crops.append(Crop(position, box, tuple(texts[i] for i in named)))
    return crops


def _objects(phrases: Sequence[Phrase]) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """The boxes (n, 4) of an image's objects, and what can be said of each in a crop."""
    said: dict[tuple[float, ...], dict[str, None]] = {}
    for phrase in phrases:
        words = said.setdefault(tuple(phrase.boxes[0]), {})
        words.update(dict.fromkeys(t.lower() for t in phrase.texts if not _tells_place(t)))
    # An object that is known by its place alone has no words here, and hides no crop.
    known = {box: tuple(words) for box, words in said.items() if words}
    return np.array(list(known), dtype=float).reshape(-1, 4), list(known.values())


def _tells_place(text: str) -> bool:
    return any(place in f"{text.lower()} " for place in _PLACES)


def _named(box: tuple[int, ...], objects: np.ndarray) -> list[int] | None:
    """Which objects a crop shows, the largest part of the crop first; None where it is unclear."""
    low, high = np.maximum(objects[:, :2], box[:2]), np.minimum(objects[:, 2:], box[2:])
    shown = (high - low).clip(min=0).prod(1)
    shares = shown / (objects[:, 2:] - objects[:, :2]).prod(1)
    seen = np.flatnonzero(shares >= _SEEN)
    if not len(seen) and (shares > _HIDDEN).any():
        return None
    return seen[np.argsort(-shown[seen], kind="stable")][:_MAX_NAMED].tolist()


def _around(
    box: np.ndarray, height: int, width: int, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """An object's box, each side moved outwards, or a little inwards."""
    sides = np.tile(box[2:] - box[:2], 2) * rng.uniform(-_TRIM, _MARGIN, 4)
    x1, y1, x2, y2 = (box + sides * (-1, -1, 1, 1)).round().astype(int).tolist()
    return max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)


def _window(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A region of a quarter of each side at least, anywhere."""
    sides = (np.array([height, width]) * rng.uniform(0.25, 1, 2)).round().astype(int)
    y, x = rng.integers(0, np.array([height, width]) - sides + 1).tolist()
    return x, y, x + int(sides[1]), y + int(sides[0])


def _area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
