"""The reference page of the configuration, docs/configuration.md, from its schema."""

from __future__ import annotations

from typing import Any

from bbr.options import RENAMED

Schema = dict[str, Any]

MADE = "Made by workflow/support/reference.py of keys.yaml and the stages' options: edit those."
# Definitions that the page shows where they are whole, not where they are changed.
_SHARED = ("loss_weights", "detector", "refinement", "detector_inputs", "expected")


def page(made: Schema) -> str:
    """The reference page: every key with its values, default and meaning."""
    lines = [
        "# Configuration",
        "",
        f"<!-- {MADE} -->",
        "",
        "Every key of `config.yaml`, of the files below it in `workflow/configs/defaults`, and of",
        "those that `--configfile` puts on top. A default is that of the stage's option; where the",
        "embedded scenes want another value, `workflow/configs/defaults` has it.",
        "",
    ]
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
    for key, word in (
        ("minimum", "≥"),
        ("exclusiveMinimum", ">"),
        ("maximum", "≤"),
        ("exclusiveMaximum", "<"),
    ):
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
