"""Print the page on configuration, made from the schema in workflow/schemas: see `make docs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SCHEMAS = Path(__file__).parents[1] / "workflow" / "schemas"
_HEAD = """# Configuration

`config.yaml` in the root of the repository is read first and explains the keys that are changed
most often. Other files go on top of it, key by key, with `--configfile`, and single values with
`--config`:

    snakemake --cores 4 results/table4.csv --configfile my.yaml --config precision=bf16

A key that is not listed here is refused by name. This page is made from the schema by which the
workflow checks its configuration.
"""
_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
}
Schema = dict[str, Any]


def page() -> str:
    """The page in Markdown."""
    (path,) = sorted(SCHEMAS.glob("config.schema.*"))
    root: Schema = yaml.safe_load(path.read_text(encoding="utf-8"))
    properties = root["properties"].items()
    sections = {key: _resolved(schema, root) for key, schema in properties}
    plain = {key: schema for key, schema in sections.items() if not _has_keys(schema, root)}
    parts = [_HEAD, "\n## Single values\n", *_table(plain, root)]
    for key, schema in sections.items():
        if key not in plain:
            parts += [f"\n## `{key}`\n", *_described(schema), *_table(_keys(schema, root), root)]
    return "\n".join(parts) + "\n"


def _described(schema: Schema) -> list[str]:
    return [f"{schema['description']}\n"] if "description" in schema else []


def _table(keys: dict[str, Schema], root: Schema) -> Iterator[str]:
    rows = list(_rows("", keys, root))
    yield "| key | value | default | |"
    yield "| --- | --- | --- | --- |"
    yield from rows


def _rows(before: str, keys: dict[str, Schema], root: Schema) -> Iterator[str]:
    for key, schema in keys.items():
        schema = _resolved(schema, root)
        name = f"{before}{key}"
        inner = _keys(schema, root)
        default = f"`{_literal(schema['default'])}`" if "default" in schema else ""
        if not inner:
            text = schema.get("description", "")
            yield f"| `{name}` | {_kind(schema, root)} | {default} | {_cell(text)} |"
        elif before.count(".") < 2:
            yield f"| `{name}` | section | | {_cell(schema.get('description', ''))} |"
            yield from _rows(f"{name}.", inner, root)


def _keys(schema: Schema, root: Schema) -> dict[str, Schema]:
    """The keys of a section; of one whose keys are names, those of an entry called NAME."""
    found = dict(schema.get("properties", {}))
    entry = schema.get("additionalProperties")
    if isinstance(entry, dict) and _has_keys(_resolved(entry, root), root):
        found["NAME"] = entry
    for part in schema.get("allOf", []):
        found |= _keys(_resolved(part, root), root)
    return found


def _has_keys(schema: Schema, root: Schema) -> bool:
    return bool(_keys(schema, root))


def _resolved(schema: Any, root: Schema) -> Schema:
    if not isinstance(schema, dict):
        return {}
    while "$ref" in schema:
        target: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def _kind(schema: Schema, root: Schema) -> str:
    if "enum" in schema:
        return ", ".join(f"`{_literal(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{_literal(schema['const'])}`"
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return " or ".join(_kind(_resolved(s, root), root) for s in schema[choice])
    kinds = schema.get("type", "anything")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    text = " or ".join(kinds).replace("null", "`null`")
    if "items" in schema:
        text += f" of {_kind(_resolved(schema['items'], root), root)}"
    bounds = [form.format(schema[name]) for name, form in _BOUNDS.items() if name in schema]
    return ", ".join([text, *bounds])


def _literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
