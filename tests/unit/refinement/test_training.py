"""The training of f^h: rounds of it, and which images it sees."""

from pathlib import Path

import torch

from bbr.backbones.frozen_states import StateOptions
from bbr.data.index import Index
from bbr.data.loading import SquareImages
from bbr.refinement.batches import RefinementBatches
from bbr.refinement.checkpoint_selection import SelectionOptions
from bbr.refinement.training import Alternation, choose_images


def test_rounds_of_f_h_with_h_between_them():
    turns = Alternation(rounds=3, detector_steps=2)
    order = "".join("h" if turns.is_detectors(step, 3) else "f" for step in range(turns.total(3)))
    assert order == "fffhhfffhhfff"
    assert Alternation().total(7) == 7
    # The released code's epochs, of one step each: h 10, f^h 45, h 10, f^h 5; its rule is that
    # those of f^h come first in each cycle of 55 after the warm-up.
    turns = Alternation(rounds=2, detector_steps=10, last_steps=5)
    assert turns.total(45) == 70 - 10
    of_h = [(epoch - 10) % (10 + 45) >= 45 for epoch in range(10, 70)]
    assert [turns.is_detectors(step, 45) for step in range(60)] == of_h
    turns = Alternation(rounds=2, detector_steps=1, last_steps=4)
    order = "".join("h" if turns.is_detectors(step, 2) else "f" for step in range(turns.total(2)))
    assert order == "ffhffff"
    assert not Alternation(rounds=2).moves_detector


def test_without_states_images_are_seen():
    index = Index([{"id": 3, "file_name": "a.jpg", "width": 9, "height": 8}], [], [], {}, Path("i"))
    images = choose_images(index, None, StateOptions(), 64, 1)
    assert isinstance(images, SquareImages)
    assert len(images) == 1


def test_images_are_set_aside_where_states_are_compared():
    batches = RefinementBatches(None, torch.arange(10) + 5, torch.rand(10, 4), 4, 0)
    assert batches.set_aside(SelectionOptions()) == (batches, None)
    rest, selector = batches.set_aside(SelectionOptions("agreement", select_fraction=0.2))
    together = torch.cat((rest.positions, selector.aside.positions))
    assert together.sort().values.tolist() == list(range(5, 15))
    assert len(selector.aside.positions) == 2
