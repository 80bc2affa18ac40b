"""The schema of the configuration and its reference page, from the stages' options and keys.yaml.

    python workflow/support/reference.py

writes workflow/schemas/config.schema.yaml and docs/configuration.md. The stages are imported, so
that this takes as long as the slowest of them; nothing else in the workflow needs them.
"""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Iterator
from dataclasses import MISSING
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "stages"), str(ROOT / "workflow")]

from bbr.command_line.parser import parameters_of  # noqa: E402
from bbr.options import RENAMED, Described, described, variants_of  # noqa: E402
from support.reference_page import MADE, Schema, page  # noqa: E402
from support.yaml_files import read_yaml  # noqa: E402

_TYPES = {int: "integer", float: "number", bool: "boolean", dict: "object"}
_LABEL = {"label": {"type": "string", "description": "the row in tables"}}
_PATCH = {
    "backbone": {
        "type": "string",
        "description": "the method runs on this one in tables and studies, instead of theirs",
    },
    **{
        name: {"$ref": f"#/$defs/{name}", "description": "keys of this section that differ"}
        for name in ("detector_inputs", "detector", "refinement")
    },
}


def schema() -> Schema:
    """The JSON schema of the configuration."""
    keys = read_yaml(ROOT / "workflow/schemas/keys.yaml")
    definitions = {name: _expanded(given, {}) for name, given in keys.pop("$defs").items()}
    made = _expanded(keys, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_with_renames(made),
        "$defs": {name: _with_renames(given) for name, given in definitions.items()},
    }


def _expanded(given: Any, definitions: dict[str, Schema]) -> Any:
    """A part of keys.yaml with what it says of stages' options put in."""
    if isinstance(given, list):
        return [_expanded(item, definitions) for item in given]
    if not isinstance(given, dict):
        return given
    given = {key: _expanded(value, definitions) for key, value in given.items()}
    if "option" in given:
        (each,) = _named(given.pop("option"))
        return {**_option_schema(each, filled=True), **given}
    if "filled" in given:
        base = copy.deepcopy(definitions[given.pop("filled")])
        _fill(base)
        made = {**base, **given}
        return made if made.get("required") else {"default": {}, **made}
    for kind, shared in (("heuristic", _LABEL), ("patch_heuristic", _LABEL | _PATCH)):
        if kind in given:
            return _object(given.pop(kind), given, shared)
    if "photographs" in given:
        return _photographs(given.pop("photographs"), given)
    if "of_stages" in given:
        return _object(given.pop("of_stages"), given, {})
    return given


def _object(names: list[str], given: Schema, shared: Schema) -> Schema:
    """An object whose keys are these options, those of `shared` and of `given`."""
    filled = given.pop("fill", False)
    options = {e.key: _option_schema(e, filled) for name in names for e in _named(name)}
    own = given.pop("properties", {})
    properties = {**copy.deepcopy(shared), **own, **options}
    if filled and not given.get("required"):
        given["default"] = {}
    return {"type": "object", "additionalProperties": False, **given, "properties": properties}


def _photographs(layout: str, given: Schema) -> Schema:
    """A dataset of photographs in a layout: the options of index_dataset.py that it takes."""
    options = [*_named("index_dataset.files"), *_named("index_dataset.reading")]
    own = {
        each.key: _option_schema(each, filled=False)
        for each in options
        if each.key not in ("format", "output")
        and (not each.option.only or layout in each.option.only)
    }
    shared = {"format": {}, "label": {}, "shards": {}}
    fetched = {
        name: {"$ref": f"#/$defs/{ref}"}
        for name, ref in (("fetch", "fetched"), ("expected", "expected"))
    }
    return {
        "type": "object",
        "additionalProperties": False,
        **given,
        "properties": {**shared, **own, **fetched},
    }


def _fill(section: Schema) -> None:
    """Turn the noted defaults of a section's options into defaults of the schema."""
    for each in section["properties"].values():
        if "x-default" in each and "default" not in each:
            each["default"] = each.pop("x-default")


@cache
def _parameters(stage: str) -> dict[str, tuple[type, Any]]:
    run = importlib.import_module(stage).run
    return {p.name: (p.kind, p.defaults) for p in parameters_of(run)}


def _named(name: str) -> Iterator[Described]:
    """The options that `stage.parameter` or `stage.parameter.option` names."""
    stage, parameter, *rest = name.split(".")
    kind, defaults = _parameters(stage)[parameter]
    for _, of_kinds in variants_of(kind):
        if rest and rest[0] in of_kinds.kinds:
            yield from described(of_kinds.kinds[rest[0]])
            return
    found = [each for each in described(kind, defaults) if not rest or each.name == rest[0]]
    if not found:
        raise KeyError(f"keys.yaml: {name}: there is no such option")
    yield from found


def _option_schema(each: Described, filled: bool) -> Schema:
    """The schema of one option; its default is noted apart, unless it is to be filled in."""
    about, made = each.option, _value_schema(each)
    unit = f" ({about.unit})" if about.unit else ""
    if about.help:
        made["description"] = about.help + unit
    known = each.default is not MISSING
    # Null where a choice is wanted stands for leaving the option out: there is no such choice.
    if known and not (each.default is None and about.choices):
        made["default" if filled else "x-default"] = _plain(each.default)
    return made


def _value_schema(each: Described) -> Schema:
    about = each.option
    if about.choices:
        named = {"enum": ["none" if choice is None else choice for choice in about.choices]}
        return {"type": "array", "items": named, "minItems": 1} if each.amount else named
    kind = _TYPES.get(each.kind, "string")
    bounds = {
        "minimum": about.min,
        "maximum": about.max,
        "exclusiveMinimum": about.above,
        "exclusiveMaximum": about.below,
    }
    made: Schema = {"type": kind} | {k: v for k, v in bounds.items() if v is not None}
    if each.amount is not None:
        made = {"type": "array", "items": made}
        if each.amount > 0:
            made |= {"minItems": each.amount, "maxItems": each.amount}
        elif not about.empty:
            made |= {"minItems": 1}
    if each.optional:
        made["type"] = [made["type"], "null"]
    return made


def _plain(value: Any) -> Any:
    """A default as YAML has it."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    known = value is None or isinstance(value, bool | int | float | str | dict)
    return value if known else str(value)


def _with_renames(given: Any) -> Any:
    """The schema with the former names of keys, in each object that has the present ones."""
    if isinstance(given, list):
        return [_with_renames(item) for item in given]
    if not isinstance(given, dict):
        return given
    given = {key: _with_renames(value) for key, value in given.items()}
    properties = given.get("properties")
    if isinstance(properties, dict):
        former = {old: new for old, new in RENAMED.items() if new in properties}
        if former:
            given["moved"] = {**former, **given.get("moved", {})}
    return given


class _Plain(yaml.SafeDumper):
    """YAML without references between like parts."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always: a reader should see each part."""
        return True


def schema_text(made: Schema) -> str:
    """config.schema.yaml."""
    more = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None}
    text = yaml.dump(made, Dumper=_Plain, width=100, **more)
    return f"# {MADE}\n{text}"


FILES = {
    "workflow/schemas/config.schema.yaml": schema_text,
    "docs/configuration.md": page,
}


def main() -> None:
    """Write both files."""
    made = schema()
    for path, text in FILES.items():
        (ROOT / path).write_text(text(made), encoding="utf-8")


if __name__ == "__main__":
    main()
