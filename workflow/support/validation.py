"""A configuration against its JSON schema: defaults filled in, mistakes told in one line each."""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


class ConfigurationError(Exception):
    """A mistake in the configuration, told in one line that names the key."""


def validate(config: dict[str, Any], schema: dict[str, Any]) -> None:
    """Check against a JSON schema and fill in its defaults, in place.

    Raises:
        ConfigurationError: the first mistake, by its key.
    """
    errors = sorted(_DefaultingValidator(schema).iter_errors(config), key=_urgency)
    if errors:
        raise ConfigurationError(f"config: {_explain(errors[0])}")


def _complete_properties(
    validator: Draft202012Validator,
    properties: Mapping[str, Any],
    instance: Any,
    schema: Mapping[str, Any],
) -> Iterator[ValidationError]:
    """JSON schema's `properties`, which also sets the keys that are left out."""
    if isinstance(instance, dict):
        for name, subschema in properties.items():
            if name in instance:
                instance[name] = _as_meant(validator.evolve(schema=subschema), instance[name])
            elif "default" in subschema:
                instance[name] = copy.deepcopy(subschema["default"])
    yield from Draft202012Validator.VALIDATORS["properties"](
        validator, properties, instance, schema
    )


def _complete_others(
    validator: Draft202012Validator, others: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """JSON schema's `additionalProperties`, whose values are read as those of `properties`."""
    if isinstance(instance, dict) and isinstance(others, Mapping):
        for name in instance.keys() - schema.get("properties", {}).keys():
            instance[name] = _as_meant(validator.evolve(schema=others), instance[name])
    yield from Draft202012Validator.VALIDATORS["additionalProperties"](
        validator, others, instance, schema
    )


_DefaultingValidator = validators.extend(
    Draft202012Validator,
    {"properties": _complete_properties, "additionalProperties": _complete_others},
)


def _as_meant(check: Draft202012Validator, value: Any) -> Any:
    """A text as the number, truth value, null or list that the schema of `check` asks for.

    Snakemake hands `--config seeds=[0,1]` on as texts, and YAML takes 1e-3 for one. No file or name
    is called null, so that it is none even where a text would do.
    """
    if not isinstance(value, str | list):
        return value
    meant = _from_text(value)
    if isinstance(value, str) and meant is None and check.is_valid(None):
        return None
    return meant if not check.is_valid(value) and check.is_valid(meant) else value


def _from_text(value: Any) -> Any:
    """What a text, or a list of texts, says; anything else as it is."""
    if isinstance(value, list):
        return [_from_text(item) for item in value]
    if not isinstance(value, str):
        return value
    if _EXPONENT.fullmatch(value):
        return float(value)
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _urgency(error: ValidationError) -> tuple[int, str]:
    # A wrong name is more likely the cause than what is missing or mistyped because of it.
    order = {"additionalProperties": 0, "propertyNames": 0, "enum": 1}
    return order.get(error.validator, 2), str(list(error.absolute_path))


def _explain(error: ValidationError) -> str:
    where = ".".join(map(str, error.absolute_path))
    prefix = f"{where}: " if where else ""
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        if place := _present_place(where, str(unknown), error.schema):
            return f"{_join(where, unknown)}: is {place} now"
        return f"{_join(where, unknown)}: unknown key; {_choices(str(unknown), known)}"
    if error.validator == "propertyNames" or error.validator == "pattern":
        return f"{prefix}{_short(error.instance)}: not a usable name; {_hint(error)}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{_join(where, missing)}: is missing"
    if error.validator == "enum":
        return f"{prefix}{not_one_of(error.instance, error.validator_value)}"
    if error.validator == "type":
        kinds = error.validator_value
        kinds = [kinds] if isinstance(kinds, str) else kinds
        return f"{prefix}{_short(error.instance)} is not of type {' or '.join(kinds)}"
    return f"{prefix}{' '.join(error.message.split())}"


def _present_place(where: str, key: str, schema: Mapping[str, Any]) -> str | None:
    """Where a key is now that was renamed or moved: into a section, or where `moved` says."""
    moved = schema.get("moved", {}).get(key)
    if moved is not None:
        return moved if "." in moved else _join(where, moved)
    sections = [n for n, s in schema["properties"].items() if key in s.get("properties", {})]
    return _join(where, f"{sections[0]}.{key}") if len(sections) == 1 else None


def _hint(error: ValidationError) -> str:
    return error.schema.get("description", f"it must match {error.schema.get('pattern')}")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def not_one_of(value: Any, allowed: Iterable[Any]) -> str:
    """What a name is told that is not among the allowed ones, with the nearest of them."""
    return f"{_short(value)} is unknown; {_choices(str(value), list(allowed))}"


def _choices(value: str, allowed: list[Any]) -> str:
    names = [json.dumps(a) if a is None or isinstance(a, bool) else str(a) for a in allowed]
    near = difflib.get_close_matches(value, names, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return f"{guess}choose from {', '.join(names)}"
