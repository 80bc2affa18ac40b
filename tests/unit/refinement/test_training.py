"""The training of f^h: which images it sees."""

from pathlib import Path

import torch

from bbr.backbones.frozen_states import StateOptions
from bbr.data.index import Index
from bbr.data.loading import SquareImages
from bbr.refinement.batches import RefinementBatches
from bbr.refinement.training import choose_images
from bbr.training.checkpoint_selection import SelectionOptions


def test_without_states_images_are_seen():
    index = Index([{"id": 3, "file_name": "a.jpg", "width": 9, "height": 8}], [], [], {}, Path("i"))
    images = choose_images(index, None, StateOptions(), 64, 1)
    assert isinstance(images, SquareImages)
    assert len(images) == 1


def test_images_are_set_aside_where_states_are_compared():
    batches = RefinementBatches(None, torch.arange(10) + 5, torch.rand(10, 4), 4, 0)
    assert batches.set_aside(SelectionOptions()) == (batches, None)
    rest, aside = batches.set_aside(SelectionOptions("agreement", select_fraction=0.2))
    together = torch.cat((rest.positions, aside.positions))
    assert together.sort().values.tolist() == list(range(5, 15))
    assert len(aside.positions) == 2
