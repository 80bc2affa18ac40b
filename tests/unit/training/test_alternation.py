"""Rounds of refinement: whose turn a step is, what moves in it, and where rounds end."""

import pytest
import torch
from torch import nn

from bbr.training.alternation import Alternating, Alternation, train_in_rounds
from bbr.training.checkpoint import Checkpoint
from bbr.training.checkpoint_selection import SelectionOptions, Selector
from bbr.training.distributed import launch
from bbr.training.plan import TrainingPlan
from bbr.training.schedule import Schedule


def turns(steps, alternation):
    """`f` of each step in which f^h is refined, `h` of h's."""
    every = range(alternation.total(steps))
    return "".join("h" if alternation.is_detectors(step, steps) else "f" for step in every)


def test_rounds_of_f_h_with_h_between_them():
    assert turns(3, Alternation(rounds=3, detector_steps=2)) == "fffhhfffhhfff"
    assert turns(7, Alternation()) == "fffffff"
    # The released code's epochs, of one step each: h 10, f^h 45, h 10, f^h 5; its rule is that
    # those of f^h come first in each cycle of 55 after the warm-up.
    alternation = Alternation(rounds=2, detector_steps=10, last_steps=5)
    assert alternation.total(45) == 70 - 10
    of_h = [(epoch - 10) % (10 + 45) >= 45 for epoch in range(10, 70)]
    assert [alternation.is_detectors(step, 45) for step in range(60)] == of_h
    assert turns(2, Alternation(rounds=2, detector_steps=1, last_steps=4)) == "ffhffff"
    assert not Alternation(rounds=2).moves_detector


def test_the_steps_of_each_round():
    assert Alternation().turns(4) == [range(4)]
    alternation = Alternation(rounds=3, detector_steps=2, last_steps=5)
    assert alternation.turns(3) == [range(3), range(5, 8), range(10, 15)]
    assert Alternation(rounds=2).turns(3) == [range(3), range(3, 6)]


class Model(Alternating):
    """f^h of one weight, which grows by 1 a step, and h of one that grows as fast."""

    def __init__(self, moves=True):
        super().__init__()
        self.refined = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.refined.weight)
        h = nn.Linear(1, 1, bias=False).eval().requires_grad_(False)
        nn.init.zeros_(h.weight)
        if moves:
            self.let_move(h)

    @property
    def student(self):
        return self.refined

    def forward(self):
        moving = self.detector if self.detectors_turn else self.refined
        assert not self.moves_detector or self.detector.training == self.detectors_turn
        return -moving.weight.sum()


class Run:
    """A training in rounds; `found` is the overlap with h's box after each number of steps."""

    def __init__(self, folder, alternation, found=None, die_after=None):
        self.model, self.seen, self.asked = Model(alternation.moves_detector), [], 0
        self.found, self.looks = found, []
        fabric = launch("cpu", "fp32")
        schedule = Schedule(steps=2, batch_size=1, lr=1.0)
        checkpoint = Checkpoint(folder / "out", {}, 0)
        plan = TrainingPlan(folder / "out", {"stage": "x"}, schedule, 0, checkpoint, None)
        selector = None
        if found is not None:
            options = SelectionOptions("agreement", select_every=100)
            selector = Selector(options, self.model, self.of_detector, self.of_maps)
        optimizer = torch.optim.SGD(self.model.refined.parameters(), lr=1.0)
        wrapped, optimizer = self.model.setup(fabric, optimizer)
        if selector is not None:
            selector.begin()

        def loss(step):
            if step == die_after:
                raise KeyboardInterrupt
            self.seen.append((step, "fh"[self.model.detectors_turn]))
            yield {"total": wrapped()}

        made = (self.model, wrapped, optimizer, loss, "steps", selector)
        self.record = train_in_rounds(fabric, plan, alternation, *made)

    @property
    def weights(self):
        """Steps of f^h and of h that are left in the weights."""
        return self.model.refined.weight.item(), self.model.detector.weight.item()

    def of_detector(self):
        self.asked += 1
        return torch.tensor([[0.5, 0.5, 1.0, 1.0]] * 2)

    def of_maps(self):
        """A box of all the width that overlaps h's as the weight of f^h says."""
        steps = round(self.model.refined.weight.item())
        self.looks.append(steps)
        return torch.tensor([[0.5, 0.5, 1.0, self.found[steps]]] * 2)


def test_each_moves_in_its_turn_alone(tmp_path):
    run = Run(tmp_path, Alternation(rounds=2, detector_steps=3, last_steps=1))
    assert "".join(whose for _, whose in run.seen) == "ffhhhf"
    assert run.weights == (3, 3)
    assert run.record == {"stage": "x"}
    without = Run(tmp_path / "without", Alternation(rounds=2))
    assert without.model.refined.weight.item() == 4


ROUNDS = Alternation(rounds=4, detector_steps=1)


@pytest.mark.parametrize(
    ("found", "steps", "kept"),
    [
        # Looked at: f, and f^h after 2, 4, 6 and 8 steps of its own.
        ([0.5, 0, 0.6, 0, 0.7, 0, 0.8, 0, 0.9], 11, 8),
        ([0.5, 0, 0.6, 0, 0.7, 0, 0.7, 0, 0.9], 8, 4),  # the third round is no better
        ([0.5, 0, 0.6, 0, 0.55, 0, 0.9, 0, 0.9], 5, 2),
        ([0.5, 0, 0.4, 0, 0.9, 0, 0.9, 0, 0.9], 2, 0),  # fallen apart: f is kept
        ([0.5, 0, 0.6, 0, 0.7, 0, 0.8, 0, 0.8], 11, 6),  # the last round may not help either
        ([0.2, 0, 0.6, 0, 0.7, 0, 0.8, 0, 0.9], 0, 0),  # h is not to be trusted
    ],
)
def test_rounds_end_where_they_lead_no_nearer(tmp_path, found, steps, kept):
    run = Run(tmp_path, ROUNDS, found)
    assert (len(run.seen), run.weights[0]) == (steps, kept)
    assert run.asked == 1  # what h, as it was given, says
    assert run.looks == [0, 2, 4, 6, 8][: (steps + 1) // 3 + 1]
    of_rounds = {0: 0, 2: 2, 4: 5, 6: 8, 8: 11}
    assert run.record["selected"] == {
        "step": of_rounds[kept],
        "agreement": pytest.approx(found[kept]) if kept else None,
        "agreement_of_f": pytest.approx(found[0]),
    }


@pytest.mark.parametrize("die_after", [1, 2, 3, 5, 7])
def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path, die_after):
    found = [0.5, 0, 0.6, 0, 0.7, 0, 0.7, 0, 0.9]
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path, ROUNDS, found, die_after)
    run = Run(tmp_path, ROUNDS, found)
    assert [step for step, _ in run.seen] == list(range(die_after, 8))
    assert run.weights == (4, 2)
    assert run.record["selected"]["step"] == 5


def test_a_run_that_was_killed_after_its_last_round_does_not_go_on(tmp_path):
    """Its last step is not saved, so that it is taken again, and the rounds end again."""
    found = [0.5, 0, 0.6, 0, 0.6]
    for _ in range(2):  # the checkpoint of the first run is still there
        run = Run(tmp_path, ROUNDS, found)
        assert run.seen[-1] == (4, "f")
        assert run.weights == (2, 1)
