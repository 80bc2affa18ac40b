"""Sections of the configuration as backbones, heuristics and variants have them."""

from __future__ import annotations

from small_configuration import small_configuration
from support import sections
from support.command_line import options

CONFIG = small_configuration()


def test_a_backbone_changes_a_heuristic_and_so_does_what_is_refined_from_it() -> None:
    for backbone in ("vit", "vit+a.lost.default.0"):
        assert sections.heuristic_options(CONFIG, backbone, "lost") == "--k-patches 25"
    assert sections.heuristic_options(CONFIG, "cnn", "lost") == "--k-patches 100"
    assert sections.heuristic_options(CONFIG, "cnn", "cut") == "--epsilon 0.5"


def test_names_in_tables() -> None:
    names = {m: sections.method_name(CONFIG, "vit", m) for m in ("lost", "edges", "ddt")}
    assert names == {"lost": "LOST", "edges": "Edges (gradient edges)", "ddt": "DDT+"}
    learned = {**CONFIG["heuristics"]["edges"], "edges": "hed"}
    config = CONFIG | {"heuristics": {**CONFIG["heuristics"], "edges": learned}}
    assert sections.method_name(config, "vit", "edges") == "Edges (HED edges, supervised)"


def test_a_variant_wins_over_a_method_and_that_over_the_section() -> None:
    def count(method: str, variant: str) -> int:
        return sections.variant_section(CONFIG, "detector", method, variant)["num_boxes"]

    assert (count("lost", "default"), count("cut", "default")) == (10, 1)
    assert (count("lost", "k1"), count("cut", "k10")) == (1, 10)
    assert sections.grounding_section(CONFIG, "detector", "k1") == {"num_boxes": 1}


def test_refinement_is_the_variants_then_the_backbones_then_the_methods() -> None:
    config = small_configuration()
    config["discovery"]["refinement"]["lr"] = 1
    assert sections.refinement_section(config, "vit", "lost")["lr"] == 1
    config["heuristics"]["lost"]["refinement"] = {"lr": 2}
    assert sections.refinement_section(config, "vit", "lost")["lr"] == 2
    config["backbones"]["vit"]["refinement"] = {"lr": 3}
    assert sections.refinement_section(config, "vit", "lost")["lr"] == 3
    assert sections.refinement_section(config, "cnn", "lost")["lr"] == 2
    config["discovery"]["variants"]["k1"]["refinement"] = {"lr": 4}
    assert sections.refinement_section(config, "vit", "lost", "k1")["lr"] == 4


def test_a_method_runs_on_its_own_backbone() -> None:
    table = {"backbone": "vit"}
    assert sections.backbone_of(CONFIG, table, "lost") == "vit"
    assert sections.backbone_of(CONFIG, table, "cut") == "cnn"


def test_null_is_said_where_it_is_not_the_default() -> None:
    assert options({"max_gradient_norm": None, "init": None}) == "--max-gradient-norm none"
