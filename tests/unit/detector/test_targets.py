"""Pseudo-boxes as targets of h."""

import json

import pytest
import torch

from bbr.data.index import Index
from bbr.detector.targets import as_target_list, load_targets
from bbr.errors import InputError


@pytest.fixture
def index(tmp_path):
    """Four images of different sizes; ids are not positions."""
    sizes = {7: (100, 200), 3: (50, 50), 9: (10, 40), 4: (80, 20)}
    images = [
        {"id": i, "file_name": f"{i}.jpg", "height": height, "width": width}
        for i, (height, width) in sizes.items()
    ]
    return Index(images, [], [], {}, tmp_path / "index.json")


@pytest.fixture
def load(tmp_path, index):
    def load(*boxes, **options):
        records = [{"image_id": i, "bbox": bbox, "score": score} for i, bbox, score in boxes]
        path = tmp_path / "boxes.json"
        path.write_text(json.dumps(records))
        return load_targets(path, index, **options)

    return load


def test_best_box_of_each_image_by_hand(load):
    positions, targets = load(
        (4, [0, 0, 20, 80], 0.5),
        (7, [0, 0, 1, 1], 0.2),
        (7, [50, 20, 100, 40], 0.9),
        (7, [0, 0, 2, 2], 0.3),
        (9, [10, 0, 10, 5], 0.1),
    )
    assert positions.dtype == torch.int64
    assert positions.tolist() == [0, 2, 3]
    expected = [
        [0.5, 0.4, 0.5, 0.4],  # x 50..150 of 200, y 20..60 of 100
        [0.375, 0.25, 0.25, 0.5],  # x 10..20 of 40, y 0..5 of 10
        [0.5, 0.5, 1, 1],
    ]
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets, torch.tensor(expected))


def test_first_of_equal_scores(load):
    _, targets = load((3, [0, 0, 10, 10], 1.0), (3, [0, 0, 50, 50], 1.0))
    torch.testing.assert_close(targets, torch.tensor([[0.1, 0.1, 0.2, 0.2]]))


def test_too_few_images(load):
    boxes = [(i, [0, 0, 10, 10], 1.0) for i in (3, 4, 9)]
    assert len(load(*boxes, min_images=3, share=0.5)[0]) == 2
    with pytest.raises(InputError, match=r"boxes of 3 images.*fewer than 4"):
        load(*boxes, min_images=4)


def test_no_boxes_at_all(load):
    with pytest.raises(InputError, match="no boxes to learn from"):
        load()


def test_boxes_of_unknown_images(load):
    with pytest.raises(InputError, match="5, 6"):
        load((3, [0, 0, 1, 1], 1), (5, [0, 0, 1, 1], 1), (6, [0, 0, 1, 1], 1))


def test_one_target_an_image():
    boxes = torch.rand(3, 4)
    as_list = as_target_list(boxes)
    assert [tuple(target.shape) for target in as_list] == [(1, 4)] * 3
    assert torch.equal(torch.cat(as_list), boxes)
    assert as_target_list(torch.zeros(0, 4)) == []


def test_rows_of_nan_are_no_targets():
    row, none = [0.5, 0.5, 0.2, 0.2], [torch.nan] * 4
    boxes = torch.tensor([[row, none], [none, none], [row, row]])
    assert [len(targets) for targets in as_target_list(boxes)] == [1, 0, 2]
    assert torch.equal(as_target_list(boxes)[2], boxes[2])
    assert [len(targets) for targets in as_target_list(boxes[:, 1])] == [0, 0, 1]


def test_an_index_without_sizes_is_refused(tmp_path):
    index = Index([{"id": 1, "file_name": "a.jpg"}], [], [], {}, tmp_path / "index.json")
    boxes = tmp_path / "boxes.json"
    boxes.write_text('[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1.0}]')
    with pytest.raises(InputError, match="image 1 has no width and height"):
        load_targets(boxes, index)


def test_a_share_is_of_the_boxes_that_score_highest(load):
    boxes = [(7, [0, 0, 9, 9], 0.5), (3, [0, 0, 9, 9], 0.9), (9, [0, 0, 9, 9], 0.5)]
    assert load(*boxes, share=1 / 3)[0].tolist() == [1]
    # Of equal scores the first image of the index counts; positions stay in its order.
    assert load(*boxes, share=0.67)[0].tolist() == [0, 1]
    assert load(*boxes, share=0.01)[0].tolist() == [1]  # at least one
