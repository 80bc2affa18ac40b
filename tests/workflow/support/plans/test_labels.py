"""What evaluate.py is told about scores."""

from __future__ import annotations

import pytest
from small_configuration import small_configuration
from support.plans import labels

CONFIG = small_configuration()
OF_F = {"dataset": "A", "method": "LOST", "heuristic": "LOST", "output": "method", "cad": "no"}
LEARNED = {"method": "Ours (LOST)", "variant": "k1", "seed": 2}


@pytest.mark.parametrize(
    ("dataset", "backbone", "boxes", "expected"),
    [
        ("a", "vit", "lost", OF_F),
        ("a", "wild", "lost", OF_F | {"method": "LOST, random-init f"}),
        ("a", "vit+a.lost.k1.2", "lost", OF_F | LEARNED | {"images": "train"}),
        ("b", "vit+a.lost.k1.2", "lost", OF_F | LEARNED | {"images": "held-out"}),
        ("a", "vit", "h.a.lost.k1.2", OF_F | LEARNED | {"images": "train", "output": "h"}),
        ("a", "vit", "cad.lost.3", OF_F | {"cad": "yes", "seed": 3}),
    ],
)
def test_boxes(dataset: str, backbone: str, boxes: str, expected: dict[str, object]) -> None:
    assert labels.box_labels(CONFIG, dataset, backbone, boxes) == expected


def test_masks_by_sam_say_that_it_is_supervised() -> None:
    found = labels.sam_labels(CONFIG, "a", "vit+a.lost.k1.2", "lost")
    expected = OF_F | LEARNED | {"images": "train"}
    assert found == expected | {"method": "Ours (LOST) + SAM (supervised)"}


def test_phrases_and_captions() -> None:
    for name, method in (("maskclip", "MaskCLIP"), ("gem", "GEM")):
        found = labels.phrase_labels(CONFIG, "b", name, "pointing_game")
        assert (found["method"], found["backbone"], found["output"]) == (method, "CLIP", "map")
    assert labels.phrase_labels(CONFIG, "b", "gae", "pointing_game") == {
        "test": "b",
        "train": "any",
        "method": "GAE",
        "backbone": "CLIP",
        "output": "map",
    }
    assert labels.phrase_labels(CONFIG, "b", "g.a", "pointing_game")["train"] == "A"
    refined = labels.phrase_labels(CONFIG, "b", "h.a.slow.1", "pointing_game")
    assert (refined["output"], refined["ablation"], refined["seed"]) == ("h", "lr", 1)
    for task in ("pointing_game", "bbox_accuracy"):
        assert labels.phrase_labels(CONFIG, "b", "sam3", task) == {
            "test": "b",
            "train": "any",
            "method": "SAM 3 (supervised)",
            "backbone": "SAM 3 (supervised)",
            "output": "map",
        }
    captions = labels.caption_labels(CONFIG, "b", "gh.a.k1.0", "pointing_game")
    assert "ablation" not in captions
    assert captions["variant"] == "k1"
    assert labels.label_options({"a": 1, "b": "x y"}) == "--label a=1 'b=x y'"


def test_h_on_maps_of_clip_alone_is_in_their_brackets() -> None:
    config = {**CONFIG, "grounding": {**CONFIG["grounding"], "weights": {"a": "gem"}}}
    found = labels.phrase_labels(config, "b", "h.a.slow.1", "bbox_accuracy")
    of_maps = labels.phrase_labels(config, "b", "gem", "bbox_accuracy")
    assert (found["method"], found["backbone"]) == (of_maps["method"], of_maps["backbone"])
    assert (found["train"], found["output"], found["seed"]) == ("A", "h", 1)


def test_boxes_say_by_which_threshold_they_were_made() -> None:
    config = {**CONFIG, "grounding": {**CONFIG["grounding"], "box_threshold": "minmax"}}
    for task, threshold in (("bbox_accuracy", "minmax"), ("bbox_accuracy.absolute", "absolute")):
        assert labels.phrase_labels(config, "b", "g.a", task)["box_threshold"] == threshold
