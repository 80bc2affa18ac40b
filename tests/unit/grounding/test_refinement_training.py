"""Which texts g^h is trained on, and which are set aside."""

import pytest
import torch

from bbr.errors import InputError
from bbr.grounding.refinement_training import split_texts
from bbr.training.checkpoint_selection import SelectionOptions

IMAGES = torch.tensor([3, 3, 3, 4, 6, 6, 7, 8, 8])  # of nine texts


def test_all_texts_of_an_image_are_on_one_side():
    trained, aside = split_texts(IMAGES, SelectionOptions("agreement", select_fraction=0.4), seed=0)
    assert sorted([*trained.tolist(), *aside.tolist()]) == list(range(9))
    sides = [set(IMAGES[side].tolist()) for side in (trained, aside)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 2
    most = SelectionOptions("agreement", select_fraction=0.8, select_max_images=1)
    assert len(set(IMAGES[split_texts(IMAGES, most, seed=0)[1]].tolist())) == 1


def test_without_a_comparison_all_are_trained_on():
    trained, aside = split_texts(IMAGES, SelectionOptions(), seed=0)
    assert trained.tolist() == list(range(9))
    assert aside.tolist() == []


def test_something_is_left_to_train_on():
    with pytest.raises(InputError, match="leaves none to train on"):
        split_texts(IMAGES, SelectionOptions("agreement", select_fraction=0.95), seed=0)
