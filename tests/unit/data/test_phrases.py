"""Phrases of an index."""

from pathlib import Path

import pytest

from bbr.data.index import Index
from bbr.data.phrases import image_captions, index_phrases
from bbr.errors import InputError


def box(image_id, bbox, phrase_id=None, phrases=("a dog",), **more):
    words = {} if phrase_id is None else {"phrase_id": phrase_id, "phrases": list(phrases)}
    return {"image_id": image_id, "bbox": bbox, "category_id": 2, **words, **more}


def index(annotations, images=({"id": 1}, {"id": 2})):
    return Index(list(images), annotations, [], {}, Path("index.json"))


def test_boxes_of_one_id_are_one_phrase_and_ids_are_of_their_image():
    phrases = index_phrases(
        index(
            [
                box(2, [0, 0, 4, 4], 5),
                box(1, [1, 2, 3, 4], 5, ["two dogs", "dogs"]),
                box(1, [9, 9, 1, 1], 6),
                box(1, [5, 5, 2, 2], 5, ["two dogs", "dogs"]),
                box(1, [5, 5, 2, 2]),
                box(1, [5, 5, 2, 2], 7, iscrowd=1),
            ]
        )
    )
    assert [(p.image_id, p.phrase_id) for p in phrases] == [(1, 5), (1, 6), (2, 5)]
    assert phrases[0].boxes.tolist() == [[1, 2, 4, 6], [5, 5, 7, 7]]
    assert phrases[0].texts == ("two dogs", "dogs")
    assert phrases[0].category_id == 2


@pytest.mark.parametrize(
    "annotation",
    [
        box(1, [0, 0, 1, 1], "5"),
        box(1, [0, 0, 1, 1], 5, []),
        box(1, [0, 0, 1, 1], 5, [3]),
        {"image_id": 1, "bbox": [0, 0, 1, 1], "phrase_id": 5},
    ],
)
def test_phrases_that_are_none(annotation):
    with pytest.raises(InputError, match=r"index.json: an annotation of image 1"):
        index_phrases(index([annotation]))


def test_captions():
    images = [{"id": 1, "captions": ["a dog"]}, {"id": 2}]
    assert image_captions(index([], images)) == {1: ["a dog"]}
    with pytest.raises(InputError, match="captions of image 1"):
        image_captions(index([], [{"id": 1, "captions": "a dog"}]))


def test_phrases_asked_of_an_image_have_no_boxes():
    images = [{"id": 1, "phrases": ["a dog", "a cat"]}, {"id": 2, "phrases": []}]
    phrases = index_phrases(index([], images))
    assert [(p.image_id, p.phrase_id, p.texts) for p in phrases] == [
        (1, 1, ("a dog",)),
        (1, 2, ("a cat",)),
    ]
    assert phrases[0].boxes.shape == (0, 4)
    with pytest.raises(InputError, match="phrases of image 1"):
        index_phrases(index([], [{"id": 1, "phrases": "a dog"}]))
