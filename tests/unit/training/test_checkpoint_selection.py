"""Setting images aside, and keeping the best state."""

import pytest
import torch

from bbr.errors import InputError
from bbr.training.checkpoint_selection import (
    BestState,
    SelectionOptions,
    Selector,
    evaluating,
    hold_out,
    is_worse,
)


@pytest.mark.parametrize(
    ("count", "fraction", "aside"), [(10, 0.3, 3), (250, 0.1, 25), (5, 0.01, 1)]
)
def test_every_image_is_either_trained_on_or_set_aside(count, fraction, aside):
    rest, held = hold_out(count, fraction, seed=0)
    assert len(held) == aside
    assert sorted([*rest.tolist(), *held.tolist()]) == list(range(count))
    assert rest.tolist() == sorted(rest.tolist())


def test_no_more_than_the_most_are_set_aside():
    rest, held = hold_out(5000, 0.2, seed=0, most=200)
    assert (len(rest), len(held)) == (4800, 200)
    assert len(hold_out(500, 0.2, seed=0, most=200)[1]) == 100


def test_the_seed_says_which():
    draws = [hold_out(100, 0.1, seed)[1].tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(("count", "fraction"), [(10, 1), (1, 0.5), (10, 0.96)])
def test_impossible_shares(count, fraction):
    with pytest.raises(InputError, match="--select-fraction"):
        hold_out(count, fraction, seed=0)


def test_when_states_are_compared():
    options = SelectionOptions("agreement", select_every=4)
    assert [n for n in range(11) if options.looks_after(n, last=n == 10)] == [0, 4, 8, 10]


def test_the_first_of_the_best_states_is_kept_through_a_checkpoint():
    parameter = torch.nn.Parameter(torch.zeros(2))
    best = BestState([parameter])
    for step, score in enumerate([0.25, 0.75, 0.5, 0.75], start=1):
        parameter.data.fill_(step)
        best.offer(score, step, [parameter])
        if step == 3:  # as a run that is killed here, and resumed
            saved = {name: tensor.clone() for name, tensor in best.state_dict().items()}
            best = BestState([torch.zeros(2)])
            best.load_state_dict(saved)
    best.restore([parameter])
    assert (best.step, best.score) == (2, 0.75)
    assert parameter.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("change", "worse"),
    [
        # Mean -0.2, deviation 0.1, so that two standard errors of four images are 0.1.
        ([-0.3, -0.3, -0.1, -0.1], True),
        # Mean -0.05, deviation 0.29: two standard errors are 0.29.
        ([-0.3, -0.3, 0.2, 0.2], False),
        ([0.1, 0.1, 0.1, 0.1], False),
        ([-0.9], False),
    ],
)
def test_worse_is_what_chance_does_not_explain(change, worse):
    before = torch.full((len(change),), 0.5, dtype=torch.float64)
    assert is_worse(before + torch.tensor(change, dtype=torch.float64), before) is worse


def test_nothing_is_kept_once_no_offer_is_taken():
    parameter = torch.nn.Parameter(torch.zeros(2))
    best = BestState([parameter])
    best.close()
    parameter.data.fill_(1)
    best.offer(0.9, 1, [parameter])
    best.restore([parameter])
    assert (best.step, parameter.tolist()) == (0, [0, 0])


def test_each_part_is_in_the_mode_that_it_was_in():
    module = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm1d(2)).eval()
    module[1].train()
    with evaluating(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == [False, False, True]


class Model:
    """f^h of one weight, which is the number of steps taken; of its maps the IoUs are given."""

    def __init__(self, ious):
        self.weight, self.ious = torch.nn.Parameter(torch.zeros(1)), ious

    def changing(self):
        return [self.weight]

    def found_boxes(self):
        """As wide as the image, and of the height that is the IoU with all of it."""
        heights = self.ious[int(self.weight.item())]
        return torch.tensor([[0.5, 0.5, 1.0, height] for height in heights])


def kept_step(ious, is_f=True, **options):
    """The state that is kept, of those after 0, 1, ... steps whose IoUs are given."""
    model, whole = Model(ious), torch.tensor([[0.5, 0.5, 1.0, 1.0]] * 4)
    selection = SelectionOptions("agreement", 1, **options)
    selector = Selector(selection, model, lambda: whole, model.found_boxes)
    selector.begin(is_f)
    for step in range(1, len(ious)):
        model.weight.data.fill_(step)
        selector.compare(step)
    selector.restore()
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
def test_the_best_state_is_kept_unless_it_fell_apart(ious, kept):
    assert kept_step(ious, select_min_agreement=0.3) == kept


def test_a_head_of_random_numbers_is_not_compared_with():
    """Its first state is not f, and is never looked at."""
    assert kept_step([[0.9] * 4, [0.1] * 4, [0.2] * 4], is_f=False) == 2
