"""Images in, descriptions out; what a captioner and CLIP say is made up here."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from captioner_data import some_crops, tiny_captioner
from grounding_data import tiny_clip

from bbr.captioning.blip import CaptionOptions
from bbr.captioning.communities import CommunityOptions
from bbr.captioning.describing import Describer, embed_texts
from bbr.captioning.proposals import ProposalOptions
from bbr.clip.network import prompt

WINDOWS = ProposalOptions(min_area=0.2, windows=(2,), stride=1)  # and what selective search finds
SIDE = 32


class Speaker:
    """Says of each crop what a function makes of it, and remembers the sizes of batches."""

    def __init__(self, say: Callable[[np.ndarray], str]) -> None:
        self.say, self.batches = say, []

    def observe(self, crops: list[np.ndarray]) -> list[np.ndarray]:
        return crops

    def generate(self, crops: list[np.ndarray], options: CaptionOptions) -> list[str]:
        self.batches.append(len(crops))
        return [self.say(crop) for crop in crops]


def describer(say: Callable[[np.ndarray], str], **changes: object) -> Describer:
    settings = {"proposals": WINDOWS, "same_iou": None, "batch_size": 3} | changes
    return Describer(
        captioner=Speaker(say),
        clip=tiny_clip(),
        captions=CaptionOptions(),
        communities=CommunityOptions(),
        image_size=SIDE,
        **settings,
    )


def halves(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Red on the left, blue on the right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = image[:, width // 2 :, 2] = 255
    return image


def colour(crop: np.ndarray) -> str:
    red, blue = crop[..., 0].mean(), crop[..., 2].mean()
    return "red" if red > 2 * blue else "blue" if blue > 2 * red else "a mug and a disc"


def test_captions_of_a_kind_become_one_and_keep_their_regions() -> None:
    describe = describer(colour)
    wide = halves(SIDE * 2, SIDE * 4)
    (found,) = describe.describe([wide])
    by_caption = {d.caption: d.regions for d in found}
    assert {"red", "blue"} <= by_caption.keys()
    # In pixels of the image: twice as high and four times as wide as the square, one of whose
    # pixels a region may reach over the middle.
    assert by_caption["red"][:, 2].max() <= SIDE * 2 + 4
    assert by_caption["blue"][:, 0].min() >= SIDE * 2 - 4
    for window in ([0, 0, 64, 32], [0, 32, 64, 64]):
        assert window in by_caption["red"].tolist()


def test_images_share_batches_and_keep_their_captions() -> None:
    images = [halves(), halves()[:, ::-1].copy(), np.full((SIDE, SIDE, 3), 90, np.uint8)]
    together = describer(colour)
    found = together.describe(images)
    alone = [describer(colour).describe([image])[0] for image in images]
    assert [[d.caption for d in own] for own in found] == [
        [d.caption for d in own] for own in alone
    ]
    *full, last = together.captioner.batches
    assert set(full) == {3}
    assert last <= 3
    assert set(together.seconds) == {
        "proposals",
        "crops for the captioner",
        "captions",
        "embeddings of captions",
        "communities",
    }


def test_regions_that_are_nearly_the_same_are_described_once() -> None:
    many, few = describer(colour), describer(colour, same_iou=0.5)
    (all_found,), (found,) = many.describe([halves()]), few.describe([halves()])
    assert sum(few.captioner.batches) < sum(many.captioner.batches)
    regions = [sum(len(d.regions) for d in own) for own in (all_found, found)]
    assert regions[1] >= sum(few.captioner.batches)  # each still counts


def test_an_image_without_a_region_has_no_description() -> None:
    describe = describer(colour, proposals=ProposalOptions(min_area=0.999999, windows=()))
    noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    whole = describe.describe([noise])
    none = {**vars(describe.proposals), "min_area": 1.0}  # above what the option allows
    describe.proposals = SimpleNamespace(**none)
    assert describe.describe([noise, halves()]) == [[], []]
    assert all(len(own) <= 1 for own in whole)


def test_one_region_has_its_caption() -> None:
    only = ProposalOptions(min_area=0.9, windows=(1,))
    (found,) = describer(lambda crop: "red", proposals=only).describe([halves()])
    assert [d.caption for d in found] == ["red"]
    assert found[0].regions.tolist() == [[0, 0, SIDE, SIDE]]


def test_identical_captions_are_one_description() -> None:
    (found,) = describer(lambda crop: "a red mug").describe([halves()])
    assert [d.caption for d in found] == ["a red mug"]
    assert len(found[0].regions) > 4


def test_captions_longer_than_clip_reads() -> None:
    # The tiny CLIP reads 8 tokens, start and end and "image of" included: four words are left.
    words = iter(["red", "blue"] * 1000)
    (found,) = describer(lambda crop: f"a red mug and a disc {next(words)}").describe([halves()])
    # To CLIP they are the same, so they are one description, by the first of them.
    assert [d.caption for d in found] == ["a red mug and a disc red"]


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_texts_are_embedded_as_prompts(batch_size: int) -> None:
    clip = tiny_clip()
    texts = ["A red mug", "blue disc", "A red mug", "a red mug"]
    embedded = embed_texts(clip, texts, batch_size)
    with torch.no_grad():
        expected = [clip.encode_texts([prompt(text)])[0].numpy() for text in texts]
    np.testing.assert_allclose(embedded, expected, atol=1e-6)
    assert embed_texts(clip, [], batch_size).shape[0] == 0
    with torch.no_grad():
        bare = [clip.encode_texts([text])[0].numpy() for text in texts]
    np.testing.assert_allclose(embed_texts(clip, texts, batch_size, bare=True), bare, atol=1e-6)


def test_a_real_captioner_fits() -> None:
    describe = describer(colour)
    describe.captioner = tiny_captioner()
    (found,) = describe.describe([some_crops(1)[0]])
    assert found
    assert all(d.caption for d in found)
