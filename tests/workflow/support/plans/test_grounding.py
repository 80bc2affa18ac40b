"""What jobs of phrase grounding and of captions read."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_configuration import small_configuration
from support.plans import comparisons, grounding, wwbl

CONFIG = small_configuration()


def test_what_draws_heatmaps() -> None:
    names = ("gae", "g.a", "g.b", "gh.a.slow.1")
    assert {name: grounding.map_source(CONFIG, name) for name in names} == {
        "gae": [],
        "g.a": "g.safetensors",
        "g.b": "results/b/grounding/grounder.safetensors",
        "gh.a.slow.1": "results/a/grounding/slow/seed1/refined.safetensors",
    }
    assert grounding.map_source_options("gae") == "--source relevancy"
    assert grounding.map_source_options("g.b") == "--source g"


def test_maps_of_clip_alone_are_not_refined() -> None:
    config = small_configuration()
    config["grounding"]["weights"]["b"] = "maskclip"
    with pytest.raises(SystemExit, match=r"weights\.b: maskclip has no weights"):
        grounding.grounder_file(config, "b")


def test_clip_is_a_file_or_an_option() -> None:
    assert grounding.clip_file(CONFIG) == "clip.safetensors"
    assert grounding.heatmap_options(CONFIG) == "--size 64"
    config = small_configuration()
    config["grounding"]["clip"]["clip"] = "openai"
    assert grounding.clip_file(config) == []
    assert grounding.heatmap_options(config) == "--clip openai --size 64"


def test_options_of_trainings() -> None:
    assert grounding.grounder_init_file(CONFIG) == grounding.detector_init_file(CONFIG, "k1") == []
    assert grounding.grounder_options(CONFIG) == "--steps 3"
    assert grounding.detector_options(CONFIG, "k1") == "--num-boxes 1 --l1-weight 5"
    assert grounding.refinement_options(CONFIG, "slow") == (
        "--steps 90 --l1-weight 5 --nms-boxes xyxy --box-threshold minmax"
    )
    assert grounding.classifier_file(CONFIG) == []
    assert grounding.classifier_options(CONFIG) == "--classifier x --size 64"


def test_what_is_scored() -> None:
    assert grounding.scored_file("f", "random", "pointing_game") == {}
    assert grounding.scored_file("f", "g.a", "pointing_game") == {"heatmaps": "f/g.a/heatmaps.h5"}
    assert grounding.scored_file("f", "g.a", "bbox_accuracy") == {
        "boxes": "f/g.a/boxes.json",
        "meta": "f/g.a/boxes.meta.json",
    }
    for task in ("pointing_game", "bbox_accuracy"):  # it has no heatmaps
        assert grounding.scored_file("f", "owlv2", task)["boxes"] == "f/owlv2/boxes.json"
    assert grounding.scored_options(CONFIG, "b", "center", "pointing_game").startswith(
        "--control center --min-area 0.05 --counted any_box --targets boxes"
        " --label test=b train=any"
    )


def test_g_beside_the_first_seed_of_what_it_became() -> None:
    found = grounding.g_and_refined(CONFIG, CONFIG["figures"]["phrases"])
    assert found["heatmaps"] == [
        "results/b/grounding/g.a/heatmaps.h5",
        "results/b/grounding/gh.a.default.0/heatmaps.h5",
    ]
    assert grounding.figure3_options(CONFIG) == "--count 8 --columns 2 --seed 0"


def test_pairs_before_and_after() -> None:
    assert comparisons.phrases("b", "a.slow.1", "pointing_game", "wwbl") == {
        "baseline": "results/b/wwbl/g.a/pointing_game.json",
        "candidate": "results/b/wwbl/gh.a.slow.1/pointing_game.json",
    }
    assert comparisons.boxes("b", "vit+a.lost.k1.0", "lost") == {
        "baseline": "results/b/vit/lost/metrics.json",
        "candidate": "results/b/vit+a.lost.k1.0/lost/metrics.json",
    }


def test_the_captioner_is_a_file_a_folder_or_a_hub_s(tmp_path: Path) -> None:
    config = small_configuration()
    assert wwbl.captioner_files(config) == {"captioner": "blip.safetensors"}
    assert wwbl.captioning_options(config) == "--beams 3"
    config["captioning"]["captioner"] = str(tmp_path)
    assert wwbl.captioner_files(config) == {"captioner_weights": []}
    (tmp_path / "pytorch_model.bin").touch()
    weights = [str(tmp_path / "pytorch_model.bin")]
    assert wwbl.captioner_files(config) == {"captioner_weights": weights}
    assert wwbl.captioning_options(config) == f"--captioner {tmp_path} --beams 3"
