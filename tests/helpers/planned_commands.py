"""The command lines that a dry run shows, and whether stages take them."""

from __future__ import annotations

import importlib
import re
import shlex

from bbr.command_line.parser import build_parser, parse


def planned_commands(shown: str) -> dict[str, set[str]]:
    """What a dry run shows of each stage's command lines, by stage."""
    found: dict[str, set[str]] = {}
    command = r'python "\$BBR_STAGES/(\w+)\.py" (.*?)(?= > | && |\)? 2> |$)'
    for stage, rest in re.findall(command, shown, re.MULTILINE):
        words = re.sub(r" --threads \d+( --memory-mb \w+)?$", "", rest)
        found.setdefault(stage, set()).add(words)
    return found


def require_taken(commands: dict[str, set[str]]) -> None:
    """Check that each stage parses its command lines."""
    for stage, lines in commands.items():
        run = importlib.import_module(stage).run
        parser = build_parser(run, None, stage)
        for line in lines:
            parse(run, parser, shlex.split(line))
