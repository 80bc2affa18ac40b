"""Options: ranges in words, and instances that keep them."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

import pytest

from bbr.errors import InputError
from bbr.options import Option, all_recorded, described, option, parts_of, require_valid


@dataclass(frozen=True)
class Kiln:
    """A kiln."""

    heat: int = option(help="how hot", unit="degrees", min=1)
    shares: tuple[float, float] = option((0.1, 0.5), "of air", above=0, max=1)
    glaze: str | None = option(None, "what colour", choices=("blue", "red"))
    shelves: int = 3


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({}, ""),
        ({"min": 1}, "at least 1"),
        ({"above": 0}, "above 0"),
        ({"max": 4}, "at most 4"),
        ({"below": 4}, "below 4"),
        ({"min": 0, "below": 1}, "in [0, 1)"),
        ({"above": 0, "max": 1}, "in (0, 1]"),
    ],
)
def test_ranges_in_words(bounds, words):
    assert Option(**bounds).range() == words


def test_what_is_described():
    heat, shares, glaze = described(Kiln)
    assert (heat.kind, heat.amount, heat.optional, heat.default) == (int, None, False, MISSING)
    assert (shares.kind, shares.amount, shares.default) == (float, 2, (0.1, 0.5))
    assert (glaze.kind, glaze.optional, glaze.flag) == (str, True, "--glaze")


def test_defaults_of_an_instance():
    assert [each.default for each in described(Kiln, Kiln(9))] == [9, (0.1, 0.5), None]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"heat": 0}, "kiln: heat is 0, which is not at least 1"),
        ({"heat": 1, "shares": (0.5, 1.5)}, r"shares is 1.5, which is not in \(0, 1\]"),
        ({"heat": 1, "shares": (0.5, float("nan"))}, "shares is nan, which is not in"),
        ({"heat": 1, "glaze": "pink"}, "glaze is 'pink', which is not one of blue, red"),
    ],
)
def test_values_out_of_range(given, message):
    with pytest.raises(InputError, match=message):
        require_valid(Kiln(**given), "kiln: ")


def test_values_in_range():
    assert require_valid(Kiln(1, (0.5, 1.0), "red"), "kiln: ") == Kiln(1, (0.5, 1.0), "red")


@dataclass(frozen=True)
class Pot:
    """Which says itself what is recorded of it."""

    clay: str = option("red", "from the river")

    def recorded(self):
        return {"clay": self.clay.upper()}


def test_what_is_recorded_of_several():
    assert all_recorded(Pot(), {"lid": 1}, kiln=Kiln(5)) == {
        "clay": "RED",
        "lid": 1,
        "kiln": {"heat": 5, "shares": (0.1, 0.5), "glaze": None, "shelves": 3},
    }


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Which has others in it."""

    kiln: Kiln = Kiln(7)
    pot: Pot


def test_parts_of_a_class():
    assert list(parts_of(Workshop)) == [("kiln", Kiln, Kiln(7)), ("pot", Pot, None)]
    assert list(parts_of(Kiln)) == []
