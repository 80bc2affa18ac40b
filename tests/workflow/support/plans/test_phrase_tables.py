"""What the tables of phrase grounding are made from, worked out by hand."""

from __future__ import annotations

from small_configuration import small_configuration
from support.plans import grounding, phrase_tables

CONFIG = small_configuration()
BOTH = ("pointing_game", "bbox_accuracy")


def test_tables_of_scores() -> None:
    assert phrase_tables.table1(CONFIG) == [
        f"results/b/grounding/{scored}/pointing_game.json"
        for scored in (
            "random",
            "center",
            "td",
            "gae",
            "gem",
            "g.a",
            "gh.a.default.0",
            "gh.a.default.1",
        )
    ]
    assert phrase_tables.table2(CONFIG) == [
        f"results/b/grounding/{scored}/bbox_accuracy.json"
        for scored in (
            "g.a",
            "gh.a.default.0",
            "h.a.default.0",
            "gh.a.default.1",
            "h.a.default.1",
        )
    ]
    assert phrase_tables.table3(CONFIG) == [
        f"results/b/wwbl/{maps}/{task}.json"
        for task in BOTH
        for maps in ("g.a", "gh.a.default.0", "gh.a.default.1")
    ]
    assert phrase_tables.table5(CONFIG) == [
        f"results/b/grounding/gh.a.slow.{seed}/{task}.json" for task in BOTH for seed in (0, 1)
    ]


def test_brackets_of_what_was_refined() -> None:
    config = small_configuration()
    config["grounding"]["brackets"] = "g^h"
    refined = {path.replace("/h.", "/hgh.") for path in phrase_tables.table2(CONFIG)}
    assert set(phrase_tables.table2(config)) == refined
    maps = [grounding.bracketed_maps(config, "b", name, "a.default.1") for name in ("h", "hgh")]
    assert maps == [f"results/b/grounding/{m}/heatmaps.h5" for m in ("g.a", "gh.a.default.1")]


def test_maps_of_clip_alone_beside_g() -> None:
    config = small_configuration()
    for name in ("table2", "table3"):
        config["tables"][name]["untrained"] = ["gem"]
    beside = "results/b/grounding/gem/bbox_accuracy.json"
    assert phrase_tables.table2(config) == [beside, *phrase_tables.table2(CONFIG)]
    expected = {*phrase_tables.table3(CONFIG), *(f"results/b/wwbl/gem/{t}.json" for t in BOTH)}
    assert set(phrase_tables.table3(config)) == expected


def test_maps_of_clip_alone_in_the_place_of_g() -> None:
    """h is trained on them, and in no table are they refined, nor any of them twice."""
    config = small_configuration()
    config["grounding"] |= {"weights": {"a": "gem"}, "brackets": "g^h"}
    assert phrase_tables.table1(config) == [
        f"results/b/grounding/{scored}/pointing_game.json"
        for scored in ("random", "center", "td", "gae", "gem")
    ]
    assert phrase_tables.table2(config) == [
        f"results/b/grounding/{scored}/bbox_accuracy.json"
        for scored in ("gem", "h.a.default.0", "h.a.default.1")
    ]
    assert phrase_tables.table3(config) == [f"results/b/wwbl/gem/{task}.json" for task in BOTH]
    maps = "results/b/grounding/gem/heatmaps.h5"
    assert grounding.bracketed_maps(config, "b", "h", "a.default.1") == maps


def test_study() -> None:
    config = small_configuration()
    config["seeds"] = [0]
    assert phrase_tables.study(config) == [
        "results/b/grounding/gh.a.default.0/pointing_game.comparison.json",
        "results/b/grounding/gh.a.slow.0/pointing_game.comparison.json",
        "results/b/grounding/gh.a.default.0/bbox_accuracy.comparison.json",
        "results/b/grounding/h.a.default.0/bbox_accuracy.json",
        "results/b/grounding/gh.a.slow.0/bbox_accuracy.comparison.json",
        # The other threshold too, so that the place of maps can be told from their level.
        "results/b/grounding/gh.a.default.0/bbox_accuracy.absolute.comparison.json",
        "results/b/grounding/gh.a.slow.0/bbox_accuracy.absolute.comparison.json",
    ]
