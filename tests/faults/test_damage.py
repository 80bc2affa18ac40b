"""Every input of every stage, truncated and with flipped bits.

What a stage makes is checked by whoever reads it: one flipped bit never goes unnoticed, unless
nothing reads it. Files of other people carry no digest; they are in test_foreign_files.py.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from outcomes import outcome
from stage_runs import STAGES, Runs, inputs_of

QUICK_TRIES, SLOW_TRIES = 2, 4


def made_by_us(runs: Runs, stage: str) -> list[tuple[str, str]]:
    """(an input of the stage, a file of it): the main one, and what lies beside it."""
    inputs = [name for name in inputs_of(stage) if name in STAGES]
    return [
        (name, path.name)
        for name in inputs
        for path in sorted(runs.output(name).parent.iterdir())
        if path.is_file() and path.suffix not in (".png", ".pdf", ".csv", ".md")
    ]


def truncated(content: bytes, rng: random.Random) -> bytes:
    """The beginning of a file; of any length, none included."""
    return content[: rng.randrange(len(content))]


def flipped(content: bytes, rng: random.Random) -> bytes:
    """A file with one bit changed."""
    damaged = bytearray(content)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


@pytest.mark.parametrize("damage", [truncated, flipped])
def test_damaged_inputs(runs, table, stage, damage, request, tmp_path):
    tries = SLOW_TRIES if request.config.getoption("--fault-table") else QUICK_TRIES
    expected = runs.output(stage).parent
    rng = random.Random(f"{stage} {damage.__name__}")
    for name, file in made_by_us(runs, stage):
        source = runs.output(name)
        for number in range(tries):
            place = tmp_path / f"{name}-{file}-{number}"
            shutil.copytree(source.parent, place / name)
            damaged = place / name / file
            damaged.write_bytes(damage(damaged.read_bytes(), rng))
            folder = place / "output"
            arguments = runs.arguments(stage, folder, {name: place / name / source.name})
            found = outcome(stage, *runs.attempt(stage, arguments), folder, expected)
            table.note(f"{file_kind(file)}, {damage.__name__}", stage, found)
            shutil.rmtree(place)


def file_kind(file: str) -> str:
    """What a file is called in the table."""
    kinds = {
        "index.json": "index",
        "boxes.json": "boxes",
        "boxes.meta.json": "what made the boxes",
        ".h5": "features, maps",
        ".safetensors": "weights",
        "matches.json": "matches",
        ".json": "metrics",
    }
    return kinds.get(file) or kinds[Path(file).suffix]
