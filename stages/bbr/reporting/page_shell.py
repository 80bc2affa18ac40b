"""What all pages have in common: one HTML file that forbids itself whatever it does not name."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined


def page_renderer(
    blocks: str, *, style: str, images: str, script: str = "", **helpers: Callable[..., Any]
) -> Callable[..., bytes]:
    """A function of the page's title, and of whatever its blocks show, to the page in UTF-8.

    Args:
        blocks: jinja2's blocks `introduction` and `main`; text that they show is no markup.
        style: CSS, beyond what all pages have.
        images: where images may come from, as a Content-Security-Policy says it.
        script: the only one that may run.
        helpers: functions that the blocks call.
    """
    policy = f"default-src 'none'; img-src {images}; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
    common = {"policy": policy, "style": _STYLE + style, "script": script, "zip": zip}
    template = _ENVIRONMENT.from_string('{% extends "shell" %}' + blocks, common | helpers)
    # Names of files may be no text.
    return lambda **shown: template.render(**shown).encode("utf-8", "replace")


_STYLE = """
:root { color-scheme: light dark; font: 16px/1.45 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { overflow-wrap: anywhere; }
rect { fill: none; vector-effect: non-scaling-stroke; }
.edge { stroke-width: 5px; }
"""

_SHELL = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{{ policy | safe }}">
<title>{{ title }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
<p>{% block introduction %}{% endblock %}</p>
</header>
<main>
{% block main %}{% endblock %}
</main>
{% if script %}
<script>{{ script | safe }}</script>
{% endif %}
</body>
</html>
"""
_ENVIRONMENT = Environment(
    loader=DictLoader({"shell": _SHELL}),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
