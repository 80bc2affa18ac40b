"""What rules that propose boxes read."""

from __future__ import annotations

from small_configuration import small_configuration
from support.plans import proposals

from bbr.heuristics import multi_box

CONFIG = small_configuration()


def test_features_and_boxes_of_all_shards() -> None:
    assert proposals.feature_files(CONFIG, "a", "vit") == [
        "results/a/vit/features/0.h5",
        "results/a/vit/features/1.h5",
    ]
    assert proposals.boxes_of_shards(CONFIG, "b", "vit", "lost") == {
        "shards": ["results/b/vit/lost/shards/0.json"],
        "meta": ["results/b/vit/lost/shards/0.meta.json"],
    }


def test_a_second_layer_is_another_backbone() -> None:
    assert proposals.second_features(CONFIG, "b", "cnn", "ddt") == ["results/b/vit/features/0.h5"]
    assert proposals.second_features(CONFIG, "b", "cnn", "lost") == []


def test_methods_on_pixels() -> None:
    assert proposals.edge_model(CONFIG, "edges") == []
    assert proposals.region_options(CONFIG, "edges") == "--max-side 9"
    assert proposals.amounts(CONFIG, "mine", "lost") == "--max-boxes 3"
    assert proposals.amounts(CONFIG, "a", "lost") == "--max-boxes 1"
    masked = CONFIG | {"masks": True}
    assert proposals.amounts(masked, "a", "lost") == "--max-boxes 1 --masks"
    assert proposals.amounts(masked, "a", "center") == "--max-boxes 1"
    assert proposals.WITH_MASKS == multi_box.WITH_MASKS


def test_images_are_read_where_masks_follow_their_edges() -> None:
    sharp = CONFIG | {"masks": True, "sharpen_masks": True}
    assert proposals.amounts(sharp, "b", "lost") == "--max-boxes 1 --masks --sharpen"
    assert proposals.images_of_masks(sharp, "b", "lost")["index"] == "results/b/index.json"
    for config, method in (
        (sharp, "dino_seg"),
        (sharp | {"masks": False}, "lost"),
        (CONFIG, "lost"),
    ):
        assert "--sharpen" not in proposals.amounts(config, "b", method)
        assert proposals.images_of_masks(config, "b", method) == {}
