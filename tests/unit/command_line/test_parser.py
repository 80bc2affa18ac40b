"""A command line made of classes of options."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bbr.command_line import parser as parsers
from bbr.command_line.parser import build_parser, parse
from bbr.errors import InputError
from bbr.options import option, require_valid, variants


@dataclass(frozen=True)
class Oak:
    """An oak."""

    rings: int = option(90, "how old", min=1)


@dataclass(frozen=True)
class Elm:
    """An elm."""

    rings: int = option(40, "how old", min=1)
    leaves: float = option(0.5, "share that is left")


@dataclass(frozen=True)
class Bound:
    """A bound."""

    longest: float | None = option(1.0, "none for no bound", above=0)


def bounded(bound: Bound) -> None:
    """Takes a number, or none."""


def test_a_number_may_be_none() -> None:
    given, _ = parse(bounded, build_parser(bounded, None), ["--longest", "none"])
    assert given["bound"].longest is None
    given, _ = parse(bounded, build_parser(bounded, None), [])
    assert given["bound"].longest == 1


def make(kind: str, given: dict[str, Any]) -> Any:
    """A tree."""
    known = {"oak": Oak, "elm": Elm}
    if kind not in known:
        raise InputError(f"kind {kind}: unknown")
    try:
        return require_valid(known[kind](**given))
    except TypeError:
        raise InputError(f"kind {kind}: {given}") from None


@dataclass(frozen=True)
class Tree:
    """Which tree."""

    kind: str = option(help="of tree")
    options: Any = variants("kind", {"oak": Oak, "elm": Elm}, make)


@dataclass(frozen=True)
class Plot:
    """Where it stands."""

    size: tuple[int, int] = option((3, 4), "of the plot", unit="m", min=1, metavar=("H", "W"))
    fenced: bool = option(False, "all around")
    paths: tuple[Path, ...] | None = option(None, "across")
    soil: dict[str, Any] = option({}, "JSON", parse=json.loads)
    water: str | None = option("rain", "from", choices=("rain", "river", None))
    label: tuple[tuple[str, ...], ...] | None = option(None, "of it", repeats=True)


def run(*, tree: Tree, plot: Plot = Plot(size=(5, 6))) -> None:
    """Nothing."""


def read(*argv: str) -> dict[str, Any]:
    return parse(run, build_parser(run, "Plants."), list(argv))[0]


def test_every_field_is_an_option():
    words = "--kind elm --leaves 0.25 --size 7 8 --fenced --paths a b --water none"
    labels = "--label x y --label z"
    found = read(*words.split(), *labels.split(), "--soil", '{"clay": 1}')
    assert found["tree"] == Tree("elm", Elm(40, 0.25))
    assert found["plot"] == Plot(
        (7, 8), True, (Path("a"), Path("b")), {"clay": 1}, None, (("x", "y"), ("z",))
    )


def test_defaults_are_those_of_the_parameter():
    assert read("--kind", "oak") == {"tree": Tree("oak", Oak(90)), "plot": Plot((5, 6))}


@dataclass(frozen=True, kw_only=True)
class Garden:
    """Trees and where they stand."""

    tree: Tree
    plot: Plot = Plot(size=(5, 6))


@dataclass(frozen=True, kw_only=True)
class Park:
    """Gardens, and how they are closed."""

    garden: Garden
    bound: Bound


def open_park(*, park: Park) -> None:
    """Nothing."""


def test_a_class_may_hold_others():
    assert [p.name for p in parsers.parameters_of(open_park)] == ["tree", "plot", "bound"]
    parser = build_parser(open_park, None)
    found, _ = parse(open_park, parser, ["--kind", "oak", "--fenced", "--longest", "2"])
    garden = Garden(tree=Tree("oak", Oak(90)), plot=Plot((5, 6), fenced=True))
    assert found == {"park": Park(garden=garden, bound=Bound(2.0))}


def test_defaults_of_what_a_class_holds():
    default = Park(garden=Garden(tree=Tree("oak")), bound=Bound(3.0))

    def open_another(*, park: Park = default) -> None:
        """Nothing."""

    by_name = {p.name: p.defaults for p in parsers.parameters_of(open_another)}
    assert by_name == {"tree": Tree("oak"), "plot": Plot((5, 6)), "bound": Bound(3.0)}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--kind", "oak", "--leaves", "1"), "kind oak"),
        (("--kind", "ash"), "kind ash: unknown"),
        (("--kind", "oak", "--rings", "0"), "rings is 0, which is not at least 1"),
        (("--kind", "oak", "--size", "0", "1"), "--size 0 is not at least 1"),
    ],
)
def test_what_is_refused_in_one_line(argv, message):
    with pytest.raises(InputError, match=message):
        read(*argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--kind", "oak", "--size", "x", "1"), "invalid int value: 'x'"),
        (("--kind", "oak", "--water", "tap"), "invalid choice: 'tap'"),
        (("--kind", "oak", "--sise", "1"), "unrecognized arguments: --sise 1"),
        ((), "required: --kind"),
    ],
)
def test_what_a_parser_refuses(argv, message, capsys):
    with pytest.raises(SystemExit):
        read(*argv)
    assert message in capsys.readouterr().err


def test_a_former_name_is_refused_with_the_present_one(monkeypatch):
    monkeypatch.setitem(parsers.RENAMED, "tree_kind", "kind")
    with pytest.raises(InputError, match="--tree-kind is called --kind now"):
        read("--kind", "oak", "--tree-kind=elm")


def test_the_help_has_units_and_defaults():
    text = " ".join(build_parser(run, "Plants.").format_help().split())
    assert "--size H W of the plot (m) [5 6]" in text
    assert "--rings RINGS oak: how old [90]; elm: how old [40]" in text
    assert "--water {rain,river,none} from [rain]" in text
    assert "Where it stands:" in text
