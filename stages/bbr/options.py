"""An option, described once: name, type, default, range, unit and help, beside its use.

A frozen dataclass holds the options of one thing, each field made by `option`. Of these classes
`command_line.parser` makes the command lines of the stages, and `workflow/support/reference.py`
the schema of the configuration and docs/configuration.md. `RENAMED` has their former names.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

from .errors import InputError

# Former names of options, and of keys of the configuration; both are refused with the present one.
RENAMED = {
    "accumulate": "grad_accum_steps",
    "fresh_head": "reinit_head",
    "greatest_area": "max_area",
    "greatest_length": "max_length",
    "least_area": "min_area",
    "least_community": "min_community",
    "least_length": "min_length",
    "least_side": "min_side",
    "least_width": "min_width",
    "losses": "loss_weights",
    "lowest": "k_patches",
    "mass": "attention_mass",
    "schedule": "lr_schedule",
}


@dataclass(frozen=True)
class Option:
    """What a field says of itself besides its name, type and default.

    Attributes:
        help: one line, which begins in lower case and has no full stop.
        unit: of a number, as `px` or `steps`.
        choices: the allowed values; None stands for `none`.
        min, max: bounds that are allowed themselves.
        above, below: bounds that are not.
        flag: the option's name on the command line, where it is not the field's.
        parse: from the text on the command line, where the type does not say how.
        metavar: what stands for the value in the help.
        only: kinds of things that have the option, where not all do.
        repeats: may be given several times, each with several values.
        empty: several values may be none at all.
        positional: given without its name.
        later: came after artifacts that are to keep their bytes: `recorded` has it only where it is
            not the default.
    """

    help: str = ""
    unit: str = ""
    choices: tuple[Any, ...] = ()
    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    flag: str = ""
    parse: Callable[[str], Any] | None = None
    metavar: Any = None
    only: tuple[str, ...] = ()
    repeats: bool = False
    empty: bool = False
    positional: bool = False
    later: bool = False

    def range(self) -> str:
        """The allowed numbers in words, as `at least 1` or `in [0, 1)`; empty for all."""
        low = self.min if self.above is None else self.above
        high = self.max if self.below is None else self.below
        if low is not None and high is not None:
            opening, closing = "(" if self.min is None else "[", ")" if self.max is None else "]"
            return f"in {opening}{low:g}, {high:g}{closing}"
        if low is not None:
            return f"at least {low:g}" if self.above is None else f"above {low:g}"
        if high is not None:
            return f"at most {high:g}" if self.below is None else f"below {high:g}"
        return ""

    def complaint(self, value: Any) -> str:
        """What is wrong with one value, or nothing."""
        if self.choices and value not in self.choices:
            return f"is not one of {', '.join(map(str, self.choices))}"
        kept = (
            self.min is None or value >= self.min,
            self.max is None or value <= self.max,
            self.above is None or value > self.above,
            self.below is None or value < self.below,
        )
        return "" if all(kept) else f"is not {self.range()}"


@dataclass(frozen=True)
class Variants:
    """A field that holds the options of whatever another field of its class names.

    Attributes:
        by: that field.
        kinds: the class of options of each name.
        make: an instance of one of them, from its name and what is given of its options.
    """

    by: str
    kinds: Mapping[str, type]
    make: Callable[[str, dict[str, Any]], Any]


class Described(typing.NamedTuple):
    """One option of a class of options.

    Attributes:
        kind: type of a value, or of each of several.
        amount: how many values: None for one, -1 for any number.
        optional: whether it may be None.
        default: MISSING where it has to be given.
    """

    name: str
    kind: type
    amount: int | None
    optional: bool
    default: Any
    option: Option

    @property
    def key(self) -> str:
        """What the option is called in the configuration."""
        return self.option.flag or self.name

    @property
    def flag(self) -> str:
        """The option as it is written on a command line."""
        return "--" + self.key.replace("_", "-")


def option(default: Any = MISSING, help: str = "", **more: Any) -> Any:
    """A field of a class of options; see `Option` for what `more` may say.

    Without a default it has to be given.
    """
    metadata = {"option": Option(help, **more)}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def variants(by: str, kinds: Mapping[str, type], make: Callable[[str, dict[str, Any]], Any]) -> Any:
    """A field for the options of what the field `by` names; see `Variants`."""
    return field(default=None, metadata={"variants": Variants(by, kinds, make)})


def variants_of(kind: type) -> Iterator[tuple[str, Variants]]:
    """The fields of a class that hold one of several classes' options."""
    for each in fields(kind):
        if "variants" in each.metadata:
            yield each.name, each.metadata["variants"]


def parts_of(kind: type) -> Iterator[tuple[str, type, Any]]:
    """The fields of a class that are classes of options themselves: name, class and default.

    A default is an instance, or None.
    """
    hints = typing.get_type_hints(kind)
    for each in fields(kind):
        if is_dataclass(hints[each.name]):
            yield each.name, hints[each.name], None if each.default is MISSING else each.default


def described(kind: type, defaults: Any = None) -> Iterator[Described]:
    """The options of a class, in order.

    Args:
        defaults: an instance whose values are the defaults, instead of those of the class.
    """
    hints = typing.get_type_hints(kind)
    for each in fields(kind):
        if "option" not in each.metadata:
            continue
        if defaults is not None:
            default = getattr(defaults, each.name)
        elif each.default_factory is not MISSING:
            default = each.default_factory()
        else:
            default = each.default
        value_type, count, optional = _taken_apart(hints[each.name])
        if each.metadata["option"].parse is not None:
            count = None
        yield Described(each.name, value_type, count, optional, default, each.metadata["option"])


def _taken_apart(hint: Any) -> tuple[Any, int | None, bool]:
    """`tuple[int, ...] | None` as (int, -1, True)."""
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
        optional = True
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return parts[0], -1 if parts[-1] is Ellipsis else len(parts), optional
    return origin or hint, None, optional


def recorded(options: Any) -> dict[str, Any]:
    """The values of an instance as provenance has them, but for later options at their default."""
    unchanged = {
        each.name
        for each in described(type(options))
        if each.option.later and getattr(options, each.name) == each.default
    }
    return {name: value for name, value in vars(options).items() if name not in unchanged}


def all_recorded(*flat: Any, **nested: Any) -> dict[str, Any]:
    """What provenance says of several classes of options at once.

    Args:
        flat: instances whose values stand there by their own names.
        nested: those whose values stand together, under the name that is given here.

    Either may be a mapping of what is recorded, or say it in a method `recorded` of its own.
    """
    made: dict[str, Any] = {}
    for options in flat:
        made |= _recorded(options)
    return made | {name: _recorded(options) for name, options in nested.items()}


def _recorded(options: Any) -> Mapping[str, Any]:
    if isinstance(options, Mapping):
        return options
    return options.recorded() if hasattr(options, "recorded") else recorded(options)


def require_valid(options: Any, where: str = "") -> Any:
    """The options themselves, once each value is found to be in its range.

    Raises:
        InputError: one is not; `where` begins the message.
    """
    for each in described(type(options)):
        given = getattr(options, each.name)
        if given is None:
            continue
        for value in [given] if each.amount is None else given:
            if complaint := each.option.complaint(value):
                shown = f"{value:g}" if isinstance(value, float) else repr(value)
                raise InputError(f"{where}{each.name} is {shown}, which {complaint}")
    return options
