"""The metrics of phrase grounding by hand and against literal versions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bbr.data.index import Index
from bbr.errors import InputError
from bbr.evaluation.controls import control_points, control_unions
from bbr.evaluation.groups import target_groups
from bbr.evaluation.phrase_metrics import (
    evaluated_targets,
    heatmap_points,
    pointing_game,
    record_unions,
    require_phrases,
    union_ious,
)
from bbr.grounding.heatmaps_h5 import HeatmapFile, create_heatmaps, find_peak

# Image 1 is 20 wide and 10 high: 5 % are 10 pixels.
IMAGES = [{"id": 1, "width": 20, "height": 10}, {"id": 2, "width": 8, "height": 8}]
ANNOTATIONS = [
    (1, 1, [0, 0, 5, 4], ["a dog"], 1),
    (1, 1, [10, 5, 10, 5], ["a dog"], 1),
    (1, 2, [0, 0, 3, 3], ["the small cat on the left"], 2),  # 9 pixels: below 5 %
    (1, 3, [4, 4, 2, 5], ["three little mice"], 2),  # 10 pixels: just enough
    (1, 3, [0, 0, 1, 1], ["three little mice"], 2),  # left out, the other stays
    (2, 1, [0, 0, 8, 4], ["sky above"], 2),
]


@pytest.fixture
def index():
    annotations = [
        {"image_id": i, "phrase_id": p, "bbox": b, "phrases": words, "category_id": c}
        for i, p, b, words, c in ANNOTATIONS
    ]
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "other"}]
    return Index(IMAGES, annotations, categories, {}, Path("index.json"))


@pytest.fixture
def targets(index):
    return evaluated_targets(index)


def units(targets):
    return [target.unit for target in targets]


def test_small_boxes_are_left_out_and_so_are_phrases_without_another(index, targets):
    assert units(targets) == [(1, 1), (1, 3), (2, 1)]
    assert targets[1].phrase.boxes.tolist() == [[4, 4, 6, 9]]
    everything = evaluated_targets(index, min_area=0)
    assert units(everything) == [(1, 1), (1, 2), (1, 3), (2, 1)]
    assert len(everything[2].phrase.boxes) == 2


def test_nothing_to_evaluate():
    index = Index(IMAGES, [], [], {}, Path("index.json"))
    with pytest.raises(InputError, match="no phrase has a box of 5%"):
        evaluated_targets(index)


def test_a_point_counts_in_any_box_but_not_between_them(targets):
    """(7, 4) lies in the union of the dog's two boxes, and in neither."""
    assert pointing_game(targets, {(1, 1): (4.9, 3.9), (1, 3): (4, 4), (2, 1): (7, 4)}) == [1, 1, 0]
    assert pointing_game(targets, {(1, 1): (7, 4), (1, 3): (6, 5)}) == [0, 0, 0]


def test_by_the_first_box_and_in_the_union(index):
    """WWbL's rule in plain loops: the first box decides, all are targets, far edges belong."""
    wanted, points = [], {}
    rng = np.random.default_rng(0)
    of_phrases: dict = {}
    for image_id, phrase_id, box, _, _ in ANNOTATIONS:
        of_phrases.setdefault((image_id, phrase_id), []).append(box)
    sizes = {image["id"]: (image["width"], image["height"]) for image in IMAGES}
    for unit, boxes in of_phrases.items():
        width, height = sizes[unit[0]]
        if boxes[0][2] * boxes[0][3] > 0.05 * width * height:
            wanted.append(unit)
    targets = evaluated_targets(index, counted="first_box")
    assert units(targets) == wanted == [(1, 1), (2, 1)]  # 10 pixels are not above 5 %
    assert targets[0].phrase.boxes.tolist() == [[0, 0, 5, 4], [10, 5, 20, 10]]
    for _ in range(50):
        expected = []
        for unit in wanted:
            x, y = int(rng.integers(24)), int(rng.integers(12))
            points[unit] = (x + 0.5, y + 0.5)
            left = min(b[0] for b in of_phrases[unit])
            top = min(b[1] for b in of_phrases[unit])
            right = max(b[0] + b[2] for b in of_phrases[unit])
            bottom = max(b[1] + b[3] for b in of_phrases[unit])
            expected.append(int(left <= x <= right and top <= y <= bottom))
        assert pointing_game(targets, points, "union") == expected
    assert pointing_game(targets, {}, "union") == [0, 0]


def test_accuracy_compares_the_boxes_around_all(targets):
    """The dog's union is the image: 200 pixels; half of it is enough."""
    records = [
        {"image_id": 1, "phrase_id": 1, "bbox": [0, 0, 2, 10], "score": 1},
        {"image_id": 1, "phrase_id": 1, "bbox": [8, 3, 2, 4], "score": 1},
        {"image_id": 1, "phrase_id": 2, "bbox": [8, 3, 2, 4], "score": 1},
    ]
    unions = record_unions(records)
    assert unions[1, 1].tolist() == [0, 0, 10, 10]
    assert union_ious(targets, unions).tolist() == [0.5, 0, 0]


def test_boxes_of_no_phrase():
    record = {"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1}
    require_phrases([record | {"phrase_id": 2}], {(1, 2)}, "boxes.json")
    with pytest.raises(InputError, match="has no phrase_id"):
        require_phrases([record], {(1, 2)}, "boxes.json")
    with pytest.raises(InputError, match="no phrase 3 of image 1"):
        require_phrases([record | {"phrase_id": 3}], {(1, 2)}, "boxes.json")


def write_heatmaps(path, rows, size):
    sizes = {image["id"]: (image["height"], image["width"]) for image in IMAGES}
    with create_heatmaps(path, size=size, provenance={}) as writer:
        for (image_id, phrase_id), heatmap in rows.items():
            peak = find_peak(heatmap, sizes.get(image_id, size))
            writer.append(image_id, phrase_id, torch.tensor(heatmap), peak)
    return path


def test_the_point_of_a_map_is_that_of_the_resized_map(tmp_path, targets):
    """Maps of 2 × 4 pixels: a hot pixel of the wide image is 5 × 5 pixels, of the other 2 wide
    and 4 high. Bilinear interpolation peaks at the pixels nearest to its centre, or beyond it at
    the border; the first of equal ones is taken."""
    hot = [np.zeros((2, 4), np.float32) for _ in range(3)]
    hot[0][1, 3], hot[1][0, 1], hot[2][0, 0] = 1, 1, 1
    rows = dict(zip(units(targets), hot, strict=True))
    path = write_heatmaps(tmp_path / "h.h5", rows | {(7, 7): hot[0]}, (2, 4))
    with HeatmapFile(path) as file:
        points = heatmap_points(targets, file)
    # columns 17.5 to 20 and rows 7.5 to 10 are flat at the border: pixel (17, 7) is centred there
    assert points == {(1, 1): (17.5, 7.5), (1, 3): (7.5, 0.5), (2, 1): (0.5, 0.5)}


def test_a_constant_map_points_to_the_first_pixel(tmp_path, targets):
    rows = {unit: np.full((3, 3), 0.5, np.float32) for unit in units(targets)}
    with HeatmapFile(write_heatmaps(tmp_path / "h.h5", rows, (3, 3))) as file:
        assert set(heatmap_points(targets, file).values()) == {(0.5, 0.5)}


def test_heatmaps_of_other_phrases(tmp_path, targets):
    rows = {(1, 1): np.zeros((3, 3), np.float32)}
    with (
        HeatmapFile(write_heatmaps(tmp_path / "h.h5", rows, (3, 3))) as file,
        pytest.raises(InputError, match=r"2 of 3 phrases have no map \(first: image 1, phrase 3\)"),
    ):
        heatmap_points(targets, file)


def test_center(targets):
    points = control_points(targets, "center")
    assert points == {(1, 1): (10, 5), (1, 3): (10, 5), (2, 1): (4, 4)}
    union = control_unions(targets, "center")[1, 1]
    np.testing.assert_allclose(union, [3, 1.5, 17, 8.5])


def test_random_is_uniform_over_the_image_and_seeded(targets):
    many = [targets[0]] * 1
    points = np.array([control_points(many, "random", seed)[1, 1] for seed in range(500)])
    # mean of a uniform distribution; 4 standard errors of 20 / sqrt(12 · 500) and of half that
    assert abs(points[:, 0].mean() - 10) < 4 * 20 / np.sqrt(12 * 500)
    assert abs(points[:, 1].mean() - 5) < 4 * 10 / np.sqrt(12 * 500)
    assert ((points >= 0) & (points < (20, 10))).all()
    assert control_points(targets, "random", 3) == control_points(targets, "random", 3)
    for union in control_unions(targets, "random").values():
        assert (union[:2] <= union[2:]).all()


def test_groups(index, targets):
    groups = target_groups(index, targets)
    assert groups == {
        "words": ["1-2", "3-4", "1-2"],
        "kind": ["plain", "plain", "relational"],
        "size": ["above 40 %", "below 15 %", "above 40 %"],
        "category": ["dog", "other", "other"],
    }
    assert "category" not in target_groups(index, targets[1:])
