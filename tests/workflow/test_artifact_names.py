"""Names in paths, and the wildcards that take them apart."""

from __future__ import annotations

import re

import pytest
from support.artifacts import (
    GROUNDING,
    Training,
    cad_boxes,
    cad_seed,
    detector_boxes,
    one_of,
    refined_backbone,
    split_backbone,
    split_boxes,
    wildcard_patterns,
)
from support.command_line import options

TRAINING = Training("scenes07", "no-reg", 12, "lost")
PATTERNS = wildcard_patterns(["scenes07", "a.b"], ["vit", "vit_random"], ["lost"], ["no-reg"])


def test_trainings_with_and_without_a_heuristic() -> None:
    of_g = Training("coco", "default", 3)
    assert (str(TRAINING), str(of_g)) == ("scenes07.lost.no-reg.12", "coco.default.3")
    assert (Training.parse(str(TRAINING)), Training.parse(str(of_g))) == (TRAINING, of_g)
    assert TRAINING.folder("vit") == "results/scenes07/vit/lost/no-reg/seed12"
    assert of_g.folder(GROUNDING) == "results/coco/grounding/default/seed3"


def test_names_are_taken_apart_as_they_were_put_together() -> None:
    assert split_backbone(refined_backbone("vit", TRAINING)) == ("vit", TRAINING)
    assert split_backbone("vit") == ("vit", None)
    assert split_boxes(detector_boxes(TRAINING)) == ("lost", TRAINING)
    assert split_boxes("lost") == ("lost", None)
    assert split_boxes(cad_boxes("lost", 12)) == ("lost", None)
    assert cad_boxes("lost", 12, "scenes07") == "cad.scenes07.lost.12"
    assert split_boxes(cad_boxes("lost", 12, "scenes07")) == ("lost", None)
    assert cad_seed(cad_boxes("lost", 12, "scenes07")) == 12
    assert cad_seed(cad_boxes("lost", 12)) == 12
    assert cad_seed("lost") is None
    assert cad_seed(detector_boxes(TRAINING)) is None


@pytest.mark.parametrize(
    ("wildcard", "name", "matches"),
    [
        ("backbone", "vit", True),
        ("backbone", "vit_random", True),
        ("backbone", refined_backbone("vit", TRAINING), True),
        ("backbone", refined_backbone("other", TRAINING), False),
        ("backbone", "vit+scenes07.lost.default.0", False),
        ("backbone", "vit+scenes07.lost.no-reg", False),
        ("base", "vit", True),
        ("base", refined_backbone("vit", TRAINING), False),
        ("boxes", "lost", True),
        ("boxes", detector_boxes(TRAINING), True),
        ("method", detector_boxes(TRAINING), False),
        ("boxes", cad_boxes("lost", 0), True),
        ("boxes", cad_boxes("other", 0), False),
        ("boxes", cad_boxes("lost", 0, "scenes07"), True),
        ("boxes", cad_boxes("lost", 0, "elsewhere"), False),
        ("trained_on", "scenes07", True),
        ("trained_on", "lost", False),
        ("method", cad_boxes("lost", 0), False),
        ("dataset", "a.b", True),
        ("dataset", "axb", False),
    ],
)
def test_wildcards(wildcard: str, name: str, matches: bool) -> None:
    assert bool(re.fullmatch(PATTERNS[wildcard], name)) == matches


def test_no_names_match_nothing() -> None:
    assert not re.fullmatch(one_of([]), "")


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"num_boxes": 10}, "--num-boxes 10"),
        ({"lr": 1e-5}, "--lr 1e-05"),
        ({"round_boxes": True}, "--round-boxes"),
        ({"round_boxes": False, "init": None}, ""),
        ({"source": "my photos"}, "--source 'my photos'"),
        ({"label": ["a=1", "b=x y"]}, "--label a=1 'b=x y'"),
        ({"architecture_args": {"depth": 4}}, "--architecture-args '{\"depth\": 4}'"),
    ],
)
def test_sections_become_options(section: dict[str, object], line: str) -> None:
    assert options(section) == line


def test_later_sections_win() -> None:
    assert options({"steps": 1, "lr": 2}, {"steps": 3}) == "--steps 3 --lr 2"
