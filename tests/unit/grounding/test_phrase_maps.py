"""Maps of the phrases of images."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bbr.errors import InputError
from bbr.grounding.phrase_maps import draw_entries, require_same_embedding
from bbr.grounding.texts import Entry


class LengthClip:
    """Whose embedding of a text is its length, once for itself and once halved."""

    mean = torch.zeros(1)

    def encode_texts(self, texts):
        return torch.tensor([[len(text), len(text) / 2] for text in texts])


def draw(owner, texts):
    """Maps 1 × 2 of the image's place, and of the text's length."""
    return torch.stack((owner.float(), texts[:, 0]), dim=1).unsqueeze(1)


@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_a_map_is_the_mean_over_the_sentences_of_its_image(at_once):
    batch = [
        [Entry(0, 5, 1, ("ab", "abcd")), Entry(0, 5, 2, ("a",))],
        [Entry(3, 6, 3, ("abcdef",))],
    ]
    maps = draw_entries(batch, LengthClip(), draw, at_once, bare=True)
    assert [own.tolist() for own in maps] == [[[0, 3]], [[0, 1]], [[1, 6]]]


def test_the_prompt_is_before_each_text():
    (own,) = draw_entries([[Entry(0, 5, 1, ("Ab",))]], LengthClip(), draw, 4)
    assert own.tolist() == [[0, len("image of ab")]]


def test_g_reads_texts_as_clip_gives_them():
    grounder = SimpleNamespace(spec=SimpleNamespace(text_dim=2))
    require_same_embedding(grounder, LengthClip(), None)
    require_same_embedding(None, LengthClip(), None)
    grounder.spec.text_dim = 512
    with pytest.raises(InputError, match="g reads texts of 512 numbers, but this CLIP gives 2"):
        require_same_embedding(grounder, LengthClip(), None)
