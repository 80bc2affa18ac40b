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
sys.path.insert(0, str(ROOT / "stages"))

from bbr.command_line.parser import parameters_of  # noqa: E402
from bbr.options import RENAMED, Described, described, variants_of  # noqa: E402

Schema = dict[str, Any]

_TYPES = {int: "integer", float: "number", bool: "boolean", dict: "object"}
_MADE = "Made by workflow/support/reference.py of keys.yaml and the stages' options: edit those."
# Definitions that the page shows where they are whole, not where they are changed.
_SHARED = ("loss_weights", "detector", "refinement", "detector_inputs", "expected")
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
    keys = yaml.safe_load((ROOT / "workflow/schemas/keys.yaml").read_text(encoding="utf-8"))
    definitions = {
        name: _expanded(given, {}) for name, given in keys.pop("$defs").items()
    }  # fmt: skip
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
    fetched = {name: {"$ref": f"#/$defs/{ref}"} for name, ref in
               (("fetch", "fetched"), ("expected", "expected"))}  # fmt: skip
    return {"type": "object", "additionalProperties": False, **given,
            "properties": {**shared, **own, **fetched}}  # fmt: skip


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
        return {"enum": ["none" if choice is None else choice for choice in about.choices]}
    kind = _TYPES.get(each.kind, "string")
    bounds = {
        "minimum": about.min, "maximum": about.max,
        "exclusiveMinimum": about.above, "exclusiveMaximum": about.below,
    }  # fmt: skip
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


def page(made: Schema) -> str:
    """The reference page: every key with its values, default and meaning."""
    lines = [
        "# Configuration", "", f"<!-- {_MADE} -->", "",
        "Every key of `config.yaml`, of the files below it in `workflow/configs/defaults`, and of",
        "those that `--configfile` puts on top. A default is that of the stage's option; where the",
        "embedded scenes want another value, `workflow/configs/defaults` has it.",
        "",
    ]  # fmt: skip
    shown: set[str] = set()
    plain = {k: _resolved(v, made) for k, v in made["properties"].items()}
    plain = {k: v for k, v in plain.items() if "object" not in v.get("type", ())}
    lines += ["## Run", "", *_rows(plain), ""]
    for name, section in made["properties"].items():
        if name not in plain:
            lines += _section(name, section, made, shown)
    lines += ["## Former names", "", "Refused, with the present name.", ""]
    lines += ["| former | present |", "| --- | --- |"]
    lines += [f"| `{old}` | `{new}` |" for old, new in sorted({**RENAMED, **made["moved"]}.items())]
    return "\n".join([*lines, ""])


def _section(name: str, section: Schema, made: Schema, shown: set[str]) -> list[str]:
    """A heading, a table of the plain keys, and the sections within."""
    section = _resolved(section, made)
    lines = [f"## {name}", ""]
    if "description" in section:
        lines += [_sentence(section["description"]), ""]
    within = {}
    plain = {}
    others = section.get("additionalProperties")
    for key, given in section.get("properties", {}).items():
        of_its_own = "properties" in _resolved(given, made) and _named_by(given) not in _SHARED
        (within if of_its_own else plain)[key] = given
    if isinstance(others, dict):
        reference = _named_by(others)
        if reference in ("dataset", "backbone", "map_figure") and reference not in shown:
            shown.add(reference)
            within |= _of_names(reference, made)
    if plain:
        lines += [*_rows({k: _resolved(v, made) for k, v in plain.items()}), ""]
    for key, given in within.items():
        if _resolved(given, made).get("properties"):
            lines += _section(f"{name}.{key}", given, made, shown)
    return lines


def _of_names(reference: str, made: Schema) -> dict[str, Schema]:
    """What a named entry, `NAME`, may have; of datasets, those of every format."""
    found = {"NAME": made["$defs"][reference]}
    for choice in made["$defs"][reference].get("allOf", ()):
        layout = choice["then"]["$ref"].rpartition("/")[2]
        section = made["$defs"][layout]
        own = {k: v for k, v in section["properties"].items() if v}
        found[f"NAME, format {layout}"] = {**section, "properties": own}
    return found


def _resolved(given: Schema, made: Schema) -> Schema:
    if "$ref" not in given:
        return given
    rest = {key: value for key, value in given.items() if key != "$ref"}
    return {**made["$defs"][_named_by(given)], **rest}


def _named_by(given: Schema) -> str:
    """The definition that a part refers to."""
    return given.get("$ref", "").rpartition("/")[2]


def _rows(properties: dict[str, Schema]) -> list[str]:
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, given in properties.items():
        default = given.get("default", given.get("x-default", ""))
        shown = "" if default == "" else f"`{_text(default)}`"
        meaning = given.get("description", "").replace("|", "\\|")
        rows.append(f"| `{key}` | {_values(given)} | {shown} | {meaning} |")
    return rows


def _values(given: Schema) -> str:
    if "enum" in given:
        return ", ".join(f"`{_text(value)}`" for value in given["enum"])
    kinds = given.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    words = " or ".join(kinds)
    if "array" in kinds and given.get("items", {}).get("type"):
        words += f" of {given['items']['type']}"
    bounds = {**given, **given.get("items", {})}
    for key, word in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"),
                      ("exclusiveMaximum", "<")):  # fmt: skip
        if key in bounds:
            words += f" {word} {bounds[key]:g}"
    return words


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


class _Plain(yaml.SafeDumper):
    """YAML without references between like parts."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always: a reader should see each part."""
        return True


def schema_text(made: Schema) -> str:
    """config.schema.yaml."""
    more = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None}
    text = yaml.dump(made, Dumper=_Plain, width=100, **more)
    return f"# {_MADE}\n{text}"


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
