"""Which state of f^h is kept, by what the heuristic's boxes are on images set aside."""

from types import SimpleNamespace

import pytest
import torch

from bbr.refinement.batches import Selector
from bbr.refinement.checkpoint_selection import SelectionOptions

FABRIC = SimpleNamespace(is_global_zero=True)


class Model:
    """f^h of one weight, which is the number of steps taken."""

    def __init__(self):
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def changing(self):
        return [self.weight]


def kept_step(monkeypatch, ious, first=0, **options):
    """The state that is kept, of those after 0, 1, ... steps whose IoUs are given."""
    selector = Selector(SelectionOptions("agreement", 1, **options), aside=None)
    model = Model()
    selector.begin(model)
    for step in range(first, len(ious)):
        model.weight.data.fill_(step)
        found = torch.tensor(ious[step], dtype=torch.float64)
        monkeypatch.setattr(selector, "_agreement", lambda *_, found=found: found)
        selector.compare(model, (1, 1), FABRIC, step, len(ious) - 1)
    selector.restore(model)
    return model.weight.item()


@pytest.mark.parametrize(
    ("ious", "kept"),
    [
        ([[0.8] * 4, [0.9] * 4, [0.85] * 4], 1),
        ([[0.8] * 4, [0.1, 0.2, 0.1, 0.2], [0.1] * 4], 0),  # fallen apart
        ([[0.8] * 4, [0.7, 0.9, 0.6, 0.9], [0.1] * 4], 1),  # no worse than chance explains
        ([[0.2] * 4, [0.9] * 4], 0),  # h is not to be trusted
    ],
)
def test_the_best_state_is_kept_unless_it_fell_apart(monkeypatch, ious, kept):
    assert kept_step(monkeypatch, ious, select_min_agreement=0.3) == kept


def test_a_head_of_random_numbers_is_not_compared_with(monkeypatch):
    """Its first state is not f, and is never looked at."""
    assert kept_step(monkeypatch, [[0.9] * 4, [0.1] * 4, [0.2] * 4], first=1) == 2
