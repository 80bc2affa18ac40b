"""The phrases of an index: what each refers to, and in which words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from .index import Index


@dataclass(frozen=True)
class Phrase:
    """What one phrase id of an image stands for.

    Attributes:
        image_id, phrase_id: together unique in an index.
        texts: at least one sentence or phrase, as the index has it.
        boxes: (m, 4) float64 `xyxy` in pixels: all that the phrase refers to; m is 0 where that is
            not known.
        category_id: of the first box; 0 where the index has none.
    """

    image_id: int
    phrase_id: int
    texts: tuple[str, ...]
    boxes: np.ndarray
    category_id: int


def index_phrases(index: Index) -> list[Phrase]:
    """The phrases of an index in the order of its images, then of its annotations.

    Annotations of one image that share a phrase id are the boxes of one phrase, whose texts are
    those of the first. Crowds and annotations without a phrase id are passed over. What an image's
    own `phrases` ask for has no boxes; its phrase ids count from 1.

    Raises:
        InputError: a phrase id is not an integer, or `phrases` are not a list of texts.
    """
    grouped: dict[int, dict[int, list[dict[str, Any]]]] = {i["id"]: {} for i in index.images}
    for annotation in index.annotations:
        if "phrase_id" in annotation and not annotation.get("iscrowd"):
            phrase_id = _checked_id(annotation, index)
            grouped[annotation["image_id"]].setdefault(phrase_id, []).append(annotation)
    asked = _texts_of_images(index, "phrases")
    return [
        phrase
        for image_id, of_image in grouped.items()
        for phrase in [
            *(_phrase(phrase_id, annotations) for phrase_id, annotations in of_image.items()),
            *_asked(image_id, asked.get(image_id, [])),
        ]
    ]


def _asked(image_id: int, texts: list[str]) -> list[Phrase]:
    return [Phrase(image_id, i, (text,), np.zeros((0, 4)), 0) for i, text in enumerate(texts, 1)]


def _checked_id(annotation: dict[str, Any], index: Index) -> int:
    phrase_id, texts = annotation["phrase_id"], annotation.get("phrases")
    good = isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts)
    if type(phrase_id) is not int or not good:
        raise InputError(
            f"{index.path}: an annotation of image {annotation['image_id']} has phrase_id "
            f"{phrase_id!r} and phrases {str(texts)[:40]}, not an integer and a list of texts"
        )
    return phrase_id


def _phrase(phrase_id: int, annotations: list[dict[str, Any]]) -> Phrase:
    first = annotations[0]
    xywh = np.array([a["bbox"] for a in annotations], dtype=np.float64)
    return Phrase(
        image_id=first["image_id"],
        phrase_id=phrase_id,
        texts=tuple(first["phrases"]),
        boxes=np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), axis=1),
        category_id=int(first.get("category_id", 0)),
    )


def image_captions(index: Index) -> dict[int, list[str]]:
    """The captions of each image that has any, by image id.

    Raises:
        InputError: an image's `captions` are not a list of texts.
    """
    return _texts_of_images(index, "captions")


def _texts_of_images(index: Index, key: str) -> dict[int, list[str]]:
    found = {image["id"]: image[key] for image in index.images if image.get(key)}
    for image_id, texts in found.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{index.path}: {key} of image {image_id} are not a list of texts")
    return found
