"""Which jobs read states kept of f's frozen part."""

from __future__ import annotations

from typing import Any

import pytest
from support.plans.states import Use, is_of_squares, states_left, uses
from workflow_copies import Repository


def config(refinement: dict[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    """What of a checked configuration is looked at here."""
    study = {
        "backbone": "a",
        "variants": ["v"],
        "methods": ["m"],
        "datasets": ["d"],
        "held_out": {},
    }
    return {
        "datasets": {
            "d": {"format": "scenes", "size": 128},
            "e": {"format": "folder", "source": "."},
        },
        "backbones": {"a": {"cache_states": True}, "b": {}},
        "heuristics": {"m": {}, "n": {"backbone": "b"}},
        "discovery": {
            "refinement": {"trainable_blocks": 2} if refinement is None else refinement,
            "variants": {"v": {"refinement": {}}, "w": {"refinement": {"trainable_blocks": 3}}},
        },
        "tables": {},
        "study": study,
    } | changes


def test_uses_of_tables_and_of_the_study() -> None:
    tables = {
        "table4": {"backbone": "a", "variant": "v", "datasets": ["d"], "methods": ["m", "n"]},
        "table6": {"backbone": "a", "datasets": ["e"], "methods": ["m"], "ablations": {"w": "W"}},
    }
    study = {
        "backbone": "b",
        "variants": ["v"],
        "methods": ["m"],
        "datasets": ["d"],
        "held_out": {"d": "e"},
    }
    assert list(uses(config(tables=tables, study=study))) == [
        Use("d", "a", "m", "v"),
        Use("d", "b", "n", "v"),
        Use("e", "a", "m", "w"),
        Use("d", "b", "m", "v"),
        Use("e", "b", "m", "v"),
    ]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (("d", "a"), 2),  # f
        (("d", "a", "m", "v"), 2),  # f^h
        (("d", "a", "m", "w"), None),  # which no table asks for
        (("e", "a"), None),  # nor is it refined there
        (("d", "b"), None),  # of this backbone no states are kept
    ],
)
def test_states_of_what_is_refined(given: tuple[str, ...], left: int | None) -> None:
    assert states_left(config(), *given) == left


def test_where_all_blocks_move_there_are_no_states() -> None:
    assert states_left(config(refinement={"trainable_blocks": 0}), "d", "a") is None
    assert states_left(config(refinement={}), "d", "a", "m", "v") is None


def test_squares() -> None:
    assert is_of_squares(config(), "d", 128)
    assert not is_of_squares(config(), "d", 304)
    assert not is_of_squares(config(), "e", 128)


DINO = {"study": {"backbone": "dinov2_scenes", "methods": ["lost"], "datasets": ["scenes07"]}}


def test_jobs_of_a_study(repository: Repository) -> None:
    planned = repository.planned("results/study.csv", *repository.configured(DINO))
    assert planned["cache_states"] == 1
    without = DINO | {"backbones": {"dinov2_scenes": {"cache_states": False}}}
    fewer = repository.planned("results/study.csv", *repository.configured(without))
    assert "cache_states" not in fewer
    assert planned == fewer | {"cache_states": 1}


def test_own_photographs_are_read_directly(repository: Repository) -> None:
    (repository.root / "photos").mkdir()
    chosen = ("--config", "images=photos", "backbone=dinov2_scenes")
    assert "cache_states" not in repository.planned("results/mine/boxes.json", *chosen)
