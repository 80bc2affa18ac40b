"""A stage's command line, made of the classes of options that its `run` takes.

    def run(files: Files, schedule: Schedule = Schedule(steps=100)) -> None: ...

has an option for each field of `Files` and of `Schedule`; a parameter's default, where it has one,
gives the defaults of its options. A class may hold others in its fields, which are then as if
`run` took each of them. See `bbr.options`.
"""

from __future__ import annotations

import argparse
import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from typing import Any

from ..errors import InputError
from ..options import RENAMED, Described, Variants, described, parts_of, variants_of


class Parameter(typing.NamedTuple):
    """A parameter of `run`: a class of options, and an instance of defaults or None."""

    name: str
    kind: type
    defaults: Any


def parameters_of(run: Callable[..., Any]) -> Iterator[Parameter]:
    """The classes of options that a stage takes, each by itself."""
    for parameter in _taken_by(run):
        yield from _within(parameter)


def _within(parameter: Parameter) -> Iterator[Parameter]:
    """The parts of a class that holds others; else the class itself."""
    parts = list(parts_of(parameter.kind))
    if not parts:
        yield parameter
    for name, kind, default in parts:
        given = default if parameter.defaults is None else getattr(parameter.defaults, name)
        yield from _within(Parameter(name, kind, given))


def _taken_by(run: Callable[..., Any]) -> Iterator[Parameter]:
    hints = typing.get_type_hints(run)
    for name, parameter in inspect.signature(run).parameters.items():
        default = None if parameter.default is parameter.empty else parameter.default
        yield Parameter(name, hints[name], default)


def build_parser(
    run: Callable[..., Any], description: str | None, program: str | None = None
) -> argparse.ArgumentParser:
    """An argument parser whose help is the stage's docstring and shows every default."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for parameter in parameters_of(run):
        title = (parameter.kind.__doc__ or "").splitlines()[0]
        group = parser.add_argument_group(title.rstrip("."))
        for each in described(parameter.kind, parameter.defaults):
            _add(group, each)
        for _, of_kinds in variants_of(parameter.kind):
            _add_variants(group, of_kinds)
    return parser


def parse(
    run: Callable[..., Any], parser: argparse.ArgumentParser, argv: list[str] | None
) -> tuple[dict[str, Any], argparse.Namespace]:
    """The arguments of `run` from a command line, and all that was parsed.

    Raises:
        InputError: an option has another name now, or is not one of what was chosen.
    """
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        _refuse(unknown, parser)
    values = vars(given)
    made = {p.name: _instance(p.kind, p.defaults, values) for p in _taken_by(run)}
    return made, given


def _refuse(unknown: list[str], parser: argparse.ArgumentParser) -> typing.NoReturn:
    for text in unknown:
        old = text.removeprefix("--").partition("=")[0].replace("-", "_")
        new = "--" + RENAMED.get(old, "").replace("_", "-")
        if text.startswith("--") and new in parser._option_string_actions:
            raise InputError(f"{text.partition('=')[0]} is called {new} now")
    parser.error(f"unrecognized arguments: {' '.join(unknown)}")


def _add(group: Any, each: Described) -> None:
    """One option, with its default and unit in the help."""
    about = each.option
    help_text = " ".join(filter(None, (about.help, f"({about.unit})" if about.unit else "")))
    if each.kind is bool:
        group.add_argument(each.flag, dest=each.name, action="store_true", help=help_text)
        return
    if each.default not in (MISSING, None, [], ()) and "[" not in help_text:
        help_text += f" [{_shown(each.default)}]"
    more: dict[str, Any] = {"help": help_text.replace("%", "%%").strip()}
    if about.repeats:
        more["action"] = "extend" if each.kind is str else "append"
    if about.choices:
        more["choices"] = about.choices
    if each.amount is not None:
        more["nargs"] = each.amount if each.amount > 0 else "*" if about.empty else "+"
    if about.positional:
        group.add_argument(each.name, type=_reader(each), metavar=about.metavar, **more)
        return
    if each.default is MISSING:
        more["required"] = True
    else:
        more["default"] = each.default if not about.repeats else None
    more["metavar"] = about.metavar or _metavar(about.choices)
    group.add_argument(each.flag, dest=each.name, type=_reader(each), **more)


def _metavar(choices: tuple[Any, ...]) -> str | None:
    if not choices:
        return None
    return "{" + ",".join("none" if choice is None else str(choice) for choice in choices) + "}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _reader(each: Described) -> Callable[[str], Any]:
    """From an option's text to its value, which is in its range."""

    kind = str if typing.get_origin(each.kind) else each.kind

    def read(text: str) -> Any:
        if text == "none" and (None in each.option.choices or (each.optional and kind is not str)):
            return None
        value = (each.option.parse or kind)(text)
        if each.option.range() and (complaint := each.option.complaint(value)):
            raise InputError(f"{each.flag} {text} {complaint}")
        return value

    read.__name__ = kind.__name__  # for argparse's "invalid int value"
    return read


def _add_variants(group: Any, of_kinds: Variants) -> None:
    """An option for each option of each kind, unset by default; kinds may share one."""
    shared: dict[str, list[tuple[str, Described]]] = {}
    for name, kind in of_kinds.kinds.items():
        for each in described(kind):
            shared.setdefault(each.name, []).append((name, each))
    for users in shared.values():
        texts = [f"{name}: {e.option.help} [{_shown(e.default)}]" for name, e in users]
        first = users[0][1]
        group.add_argument(
            first.flag,
            dest=first.name,
            type=first.kind,
            help="; ".join(texts).replace("%", "%%"),
            metavar=_metavar(first.option.choices),
        )


def _instance(kind: type, defaults: Any, values: dict[str, Any]) -> Any:
    """An object of a class of options from parsed values."""
    given = {} if defaults is None else {f.name: getattr(defaults, f.name) for f in fields(kind)}
    for each in described(kind):
        value = values[each.name]
        if each.option.repeats and value is None:
            value = each.default
        given[each.name] = value if each.amount is None else _as_tuples(value)
    for name, part, default in parts_of(kind):
        given[name] = _instance(part, given.get(name, default), values)
    for name, of_kinds in variants_of(kind):
        given[name] = _variant(of_kinds, given[of_kinds.by], values)
    return kind(**given)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


def _variant(of_kinds: Variants, chosen: str, values: dict[str, Any]) -> Any:
    every = {each.name for kind in of_kinds.kinds.values() for each in described(kind)}
    return of_kinds.make(chosen, {n: values[n] for n in every if values[n] is not None})
