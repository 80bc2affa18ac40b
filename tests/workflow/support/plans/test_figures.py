"""What figures show."""

from __future__ import annotations

from small_configuration import small_configuration
from support.artifacts import Training
from support.plans import figures

CONFIG = small_configuration()


def test_boxes_before_and_after() -> None:
    assert figures.sheet_of_table4(CONFIG) == "results/a/vit/lost/default/seed0/boxes.png"
    found = figures.refined_boxes("vit", Training("a", "k1", 0, "lost"))
    assert list(found) == ["before", "after", "detector", "meta"]
    assert found["after"] == "results/a/vit+a.lost.k1.0/lost/boxes.json"
    assert found["meta"][2] == "results/a/vit/h.a.lost.k1.0/boxes.meta.json"
    names = figures.names_of_refined_boxes(CONFIG, "vit", "lost")
    assert names == "--names 'LOST, f' 'LOST, f^h' h"


def test_maps() -> None:
    first, second = figures.map_panels(CONFIG, "one")
    assert first == {
        "title": "LOST",
        "network": "f",
        "method": "lost",
        "shards": 2,
        "k_patches": 25,
        "features": "results/a/vit/features/{shard}.h5",
        "boxes": "results/a/vit/lost/boxes.json",
        "cad": "results/a/vit/cad.lost.0/boxes.json",
    }
    assert second["features"] == "results/a/vit+a.lost.default.0/features/{shard}.h5"
    found = figures.map_files(CONFIG, "one")
    assert found["features"][:2] == ["results/a/vit/features/0.h5", "results/a/vit/features/1.h5"]
    assert len(found["boxes"]) == len(found["meta"]) == 4
    assert figures.map_options(CONFIG, "one").endswith("--count 1 --seed 0 --width 3.3")


def test_risk_over_coverage_on_f_and_on_the_first_f_h() -> None:
    found = figures.risk_coverage(CONFIG)
    folders = ["results/a/vit/lost", "results/a/vit+a.lost.default.0/lost"]
    assert found["boxes"][:2] == [f"{folder}/boxes.json" for folder in folders]
    assert found["metrics"][:2] == [f"{folder}/metrics.json" for folder in folders]
    assert not any(".default.1/" in path for path in found["boxes"])
    assert len(found["boxes"]) == len(found["metrics"]) == len(found["meta"])


def test_a_row_for_a_phrase() -> None:
    config = small_configuration()
    config["figures"]["maps"]["one"]["phrase"] = config["figures"]["phrases"]
    found = figures.map_files(config, "one")
    assert found["phrase_index"] == "results/b/index.json"
    assert len(found["phrase_heatmaps"]) == 2
