"""The refinement of g: what h is asked for, by hand."""

import copy
from types import SimpleNamespace

import pytest
import torch

from bbr.detector.set_loss import LossWeights
from bbr.errors import InputError
from bbr.grounding import refinement
from bbr.grounding.losses import GroundingWeights
from bbr.grounding.refinement import LessonPlan, Lessons, Targets, require_something_to_learn

NOTHING = GroundingWeights(0, 0, 0, 0)
LEFT, RIGHT = [0.25, 0.5, 0.2, 0.2], [0.75, 0.5, 0.2, 0.2]
BOTH = [0.5, 0.5, 0.7, 0.2]
TEACHER = SimpleNamespace(
    detector=SimpleNamespace(spec=SimpleNamespace(num_boxes=3)),
    own_boxes=lambda maps: [torch.tensor([RIGHT])] * len(maps),
)


@pytest.fixture(autouse=True)
def _dark_maps(monkeypatch):
    """Those of g, with nothing in them."""
    monkeypatch.setattr(refinement, "draw_maps", lambda _, batch: torch.zeros(len(batch), 8, 8))


def lesson(options, source="h", count=2):
    """What is wanted, and the masks, of maps whose stored boxes are the same two each."""
    planned = LessonPlan(None, TEACHER, options, source)
    stored = [torch.tensor([LEFT, RIGHT])] * count
    teach = planned.of_batch([None] * count, stored, torch.Generator().manual_seed(0))
    return teach(torch.zeros(count, 8, 8))


def as_lists(boxes):
    return [[[round(v, 6) for v in box] for box in own.tolist()] for own in boxes]


def test_boxes_of_g_or_their_union():
    wanted, masks = lesson(Targets(union_probability=0))
    assert as_lists(wanted) == [[LEFT, RIGHT]] * 2
    assert as_lists(masks) == [[RIGHT]] * 2
    wanted, _ = lesson(Targets(union_probability=1))
    assert as_lists(wanted) == [[BOTH]] * 2


def test_one_coin_for_a_batch():
    wanted, _ = lesson(Targets(union_coin="batch"), count=16)
    assert len({len(own) for own in wanted}) == 1
    wanted, _ = lesson(Targets(), count=16)
    assert len({len(own) for own in wanted}) == 2


def test_boxes_of_h():
    wanted, _ = lesson(Targets(targets="h", union_probability=0))
    assert as_lists(wanted) == [[RIGHT]] * 2


def test_where_maps_are_dark_g_s_boxes_stand_in():
    wanted, masks = lesson(Targets(targets="current", union_probability=0), "g")
    assert as_lists(wanted) == as_lists(masks) == [[LEFT, RIGHT]] * 2


def two_maps():
    """One with two squares of a quarter's height each, at either edge, and one without anything."""
    maps = torch.zeros(2, 8, 8)
    maps[0, 2:6, :2] = maps[0, 2:6, 6:] = 1
    return maps


def test_in_its_turn_h_learns_the_boxes_of_the_maps():
    """Never their union, and g's where there are none, or nothing where those are an answer."""
    left, right = [0.125, 0.5, 0.25, 0.5], [0.875, 0.5, 0.25, 0.5]
    stored = [torch.tensor([LEFT])] * 2
    for more, instead in (({}, [LEFT]), ({"empty_maps": "no_object"}, [])):
        options = Targets(targets="h", union_probability=1, **more)
        wanted, masks = LessonPlan(None, TEACHER, options, "h").of_detector(stored)(two_maps())
        assert [sorted(own) for own in as_lists(wanted)] == [[left, right], instead]
        assert masks == []


def test_boxes_by_which_states_are_compared(monkeypatch):
    """Around all that h finds on g, and around all in the maps of g^h as it will be run."""
    g, modes = torch.nn.Linear(1, 1).train(), []

    def draw(grounder, batch):
        modes.append(grounder.training)
        return two_maps()

    monkeypatch.setattr(refinement, "draw_maps", draw)
    both = SimpleNamespace(own_boxes=lambda maps: [torch.tensor([LEFT, RIGHT])] * len(maps))
    planned = LessonPlan(copy.deepcopy(g).eval(), both, Targets(), "h")
    assert as_lists([planned.own_boxes([None] * 2)]) == [[BOTH, BOTH]]
    assert planned.found_boxes(g, [None] * 2).tolist() == [[0.5, 0.5, 1, 0.5], [0, 0, 0, 0]]
    assert modes == [False, False]
    assert g.training


def test_h_is_asked_as_it_is_told():
    weights = LossWeights()
    teacher = Lessons(0.5, 2.0, "g", 0.3, True).teacher(TEACHER.detector, weights, 32)
    assert (teacher.map_size, teacher.weights) == ((32, 32), weights)
    told = (teacher.detector_weight, teacher.mask_weight, teacher.inside_share, teacher.flips)
    assert told == (0.5, 2.0, 0.3, True)


@pytest.mark.parametrize(
    ("targets", "lessons", "message"),
    [
        ("g", Lessons(detector_weight=0), "every term has weight 0"),
        ("current", Lessons(), "nothing holds g\\^h"),
    ],
)
def test_nothing_to_learn(targets, lessons, message):
    with pytest.raises(InputError, match=message):
        require_something_to_learn(targets, NOTHING, lessons)


def test_something_to_learn():
    require_something_to_learn("g", NOTHING, Lessons())
    require_something_to_learn("current", NOTHING, Lessons(mask_weight=1))
    require_something_to_learn("h", GroundingWeights(), Lessons(detector_weight=0))
