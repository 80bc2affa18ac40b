"""What g is told of an image."""

import pytest
import torch

from bbr.data.index import Index
from bbr.errors import InputError
from bbr.grounding.texts import Entry, by_image, draw_entry, draw_text, entries, kept_words


@pytest.fixture
def index(tmp_path):
    def box(image, phrase, *phrases):
        return {
            "image_id": image,
            "bbox": [0, 0, 9, 9],
            "phrase_id": phrase,
            "phrases": list(phrases),
        }

    return Index(
        images=[
            {"id": 7, "file_name": "a.jpg", "width": 20, "height": 10},
            {"id": 3, "file_name": "b.jpg", "width": 20, "height": 10, "captions": ["One", "Two"]},
            {"id": 5, "file_name": "c.jpg", "width": 20, "height": 10},
        ],
        annotations=[
            box(3, 4, "a mug"),
            box(7, 1, "A disc", "the disc"),
            box(7, 2, "a cube"),
            box(7, 1, "A disc", "the disc"),
        ],
        categories=[],
        info={},
        path=tmp_path / "index.json",
    )


def test_phrases_are_one_entry_an_id(index):
    assert entries(index, "phrases") == [
        Entry(0, 7, 1, ("A disc", "the disc")),
        Entry(0, 7, 2, ("a cube",)),
        Entry(1, 3, 4, ("a mug",)),
    ]


def test_in_training_captions_go_before_phrases(index):
    found = entries(index, "training")
    assert found[2:] == [Entry(1, 3, 0, ("One",), True), Entry(1, 3, 1, ("Two",), True)]
    assert found[:2] == entries(index, "phrases")[:2]
    assert [[e.phrase_id for e in group] for group in by_image(found)] == [[1, 2], [0, 1]]


def test_an_index_without_texts_is_refused(index):
    bare = Index(index.images[2:], [], [], {}, index.path)
    with pytest.raises(InputError, match="has no phrases"):
        entries(bare, "phrases")


def test_texts_are_drawn_evenly(index):
    generator = torch.Generator().manual_seed(0)
    group = by_image(entries(index, "phrases"))[0]
    drawn = [draw_text(draw_entry(group, generator), generator) for _ in range(2000)]
    counts = {text: drawn.count(text) for text in set(drawn)}
    assert set(counts) == {"image of a disc", "image of the disc", "image of a cube"}
    assert abs(counts["image of a cube"] - 1000) < 112  # five standard deviations
    assert abs(counts["image of a disc"] - 500) < 97


def test_words_of_captions_are_dropped():
    generator = torch.Generator().manual_seed(0)
    entry = Entry(0, 1, 0, ("w " * 50,), caption=True)
    texts = [draw_text(entry, generator) for _ in range(200)]
    kept = sum(len(text.split()) - 2 for text in texts)
    assert abs(kept - 8000) < 200  # five standard deviations of a binomial with p = 4/5
    assert all(
        draw_text(Entry(0, 1, 0, ("One",), True), generator) == "image of one" for _ in range(20)
    )


def test_words_of_captions_are_kept_as_often_as_the_released_code_keeps_them():
    """Each with probability 4/5, in their order, and the same ones each time; no other text's."""
    words = [f"w{i}" for i in range(40)]
    captions = [Entry(0, image, 0, (" ".join(words),), True) for image in range(100)]
    left = [kept_words(entry).sentences[0].split() for entry in captions]
    assert left == [kept_words(entry).sentences[0].split() for entry in captions]
    assert all(sorted(own, key=words.index) == own for own in left)
    count = sum(map(len, left))
    assert abs(count - 0.8 * 4000) < 5 * (4000 * 0.8 * 0.2) ** 0.5
    assert len({tuple(own) for own in left}) == 100
    phrase = Entry(0, 7, 1, ("A disc", "the disc"))
    assert kept_words(phrase) is phrase
