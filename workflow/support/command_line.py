"""Sections of the configuration as options of a stage's command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

_SAY_NONE = ("max_gradient_norm",)  # where null is not the stage's default


def options(*sections: Mapping[str, Any]) -> str:
    """Configuration keys as a shell-quoted command line; later sections win.

    `num_boxes: 10` becomes `--num-boxes 10`; true a bare flag; false and null nothing, but that
    some keys say `none` for null; a list several arguments; a mapping JSON.
    """
    merged: dict[str, Any] = {}
    for section in sections:
        merged |= section
    words: list[str] = []
    for key, value in merged.items():
        if value is None and key in _SAY_NONE:
            value = "none"
        if value is None or value is False:
            continue
        words.append("--" + key.replace("_", "-"))
        words += _arguments(value)
    return shlex.join(words)


def _arguments(value: Any) -> list[str]:
    if value is True:
        return []
    if isinstance(value, Mapping):
        return [json.dumps(value, sort_keys=True)]
    if isinstance(value, list):
        return [str(item) for item in value]
    return [str(value)]
