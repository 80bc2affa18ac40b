"""AP50 and AR100 by hand and by a slow version, and the bootstrap interval of AP50."""

from pathlib import Path

import numpy as np
import pytest

from bbr.data.index import Index
from bbr.evaluation.average_precision import average_precision, weighted_ap


def make_index(objects):
    """Ground truth by image id: [x, y, w, h], and 'crowd' for one that is."""
    annotations = [
        {"image_id": i, "bbox": box[:4], "iscrowd": int(len(box) > 4)}
        for i, boxes in objects.items()
        for box in boxes
    ]
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in objects]
    return Index(images, annotations, [], {}, Path("index.json"))


def box(image_id, bbox, score):
    return {"image_id": image_id, "bbox": bbox, "score": score}


def test_by_hand():
    """Hit, miss, hit of two objects: precision 1 up to recall 1/2, then 2/3.

    51 of the 101 recalls, 0 to 0.5, have precision 1 and the other 50 have 2/3.
    """
    index = make_index({1: [[0, 0, 10, 10]], 2: [[0, 0, 10, 10]], 3: []})
    records = [
        box(1, [0, 0, 10, 10], 0.9),
        box(1, [50, 50, 10, 10], 0.8),
        box(2, [0, 0, 10, 6], 0.7),
    ]
    found = average_precision(index, records)
    assert found.ap50 == pytest.approx(100 * (51 + 50 * 2 / 3) / 101)
    assert found.ap75 == pytest.approx(100 * 51 / 101)
    assert (found.objects, found.found) == ([1, 1, 0], [1, 1, 0])
    # IoU 0.6 reaches the thresholds 0.50, 0.55 and 0.60.
    assert found.ap == pytest.approx((3 * found.ap50 + 7 * found.ap75) / 10)
    assert found.ar100 == pytest.approx((3 * 100 + 7 * 50) / 10)


def test_a_second_box_on_an_object_is_a_miss_and_a_crowd_is_neither():
    index = make_index({1: [[0, 0, 10, 10], [40, 40, 20, 20, "crowd"]]})
    twice = [box(1, [0, 0, 10, 10], 0.5), box(1, [0, 0, 10, 9], 0.9)]
    found = average_precision(index, [*twice, box(1, [41, 41, 5, 5], 0.99)])
    # The better-scoring box takes the object, whose match the other then cannot have.
    assert found.ap50 == pytest.approx(100)
    assert (found.objects, found.found) == ([1], [1])
    # At IoU 0.95 it is the other box that finds the object; the crowd is not one to be found.
    assert found.ar100 == pytest.approx(100)


def test_no_boxes_at_all():
    found = average_precision(make_index({1: [[0, 0, 10, 10]]}), [])
    assert (found.ap, found.ap50, found.interval, found.found) == (0.0, 0.0, (0.0, 0.0), [0])
    assert found.ar100 == 0


def iou(first, second):
    """Of two [x, y, w, h]."""
    sides = [
        min(first[i] + first[i + 2], second[i] + second[i + 2]) - max(first[i], second[i])
        for i in (0, 1)
    ]
    common = max(sides[0], 0) * max(sides[1], 0)
    return common / (first[2] * first[3] + second[2] * second[3] - common)


def slow_recall(objects, records):
    """AR100 in percent from its definition: boxes by score, each takes the best free object."""
    shares = []
    for threshold in range(50, 100, 5):
        found = total = 0
        for image_id, truths in objects.items():
            free = [truth for truth in truths if len(truth) == 4]
            total += len(free)
            own = [record for record in records if record["image_id"] == image_id]
            for record in sorted(own, key=lambda record: -record["score"])[:100]:
                best = max(free, key=lambda truth: iou(record["bbox"], truth), default=None)
                if best is not None and iou(record["bbox"], best) >= threshold / 100:
                    free.remove(best)
                    found += 1
        shares.append(found / total)
    return 100 * sum(shares) / len(shares)


@pytest.mark.parametrize("seed", range(4))
def test_recall_is_that_of_the_slow_version(seed):
    """Images without objects, with crowds and overlaps; no boxes, a few and more than 100."""
    draw = np.random.default_rng(seed)
    objects, records = {}, []
    for image_id in range(1, 30):
        truths = draw.uniform(10, 40, (draw.integers(0, 4), 4)).tolist()
        crowds = [[*b, "crowd"] for b in draw.uniform(0, 60, (draw.integers(0, 2), 4)).tolist()]
        objects[image_id] = truths + crowds
        for b in objects[image_id]:
            for _ in range(draw.choice([0, 1, 3, 60])):
                near = np.array(b[:4]) + draw.normal(0, 3, 4)
                records.append(box(image_id, near.clip(1).tolist(), float(draw.uniform())))
    assert max(np.bincount([record["image_id"] for record in records])) > 100
    found = average_precision(make_index(objects), records)
    assert 20 < found.ar100 < 95
    assert found.ar100 == pytest.approx(slow_recall(objects, records))


@pytest.mark.parametrize(("others", "expected"), [(99, 100), (100, 0)])
def test_recall_is_that_of_the_100_best_boxes(others, expected):
    index = make_index({1: [[0, 0, 10, 10]]})
    records = [box(1, [50, 50, 10, 10], 0.9)] * others + [box(1, [0, 0, 10, 10], 0.1)]
    assert average_precision(index, records).ar100 == pytest.approx(expected)


def test_boxes_where_nothing_is_to_be_found_change_no_recall():
    index = make_index({1: [[0, 0, 10, 10]], 2: [], 3: [[0, 0, 50, 50, "crowd"]]})
    records = [box(1, [0, 0, 10, 10], 0.1), box(2, [0, 0, 9, 9], 0.9), box(3, [0, 0, 9, 9], 0.9)]
    found = average_precision(index, records)
    assert found.ar100 == pytest.approx(100)
    assert found.ap50 == pytest.approx(50)  # that on image 2 is a miss, that in the crowd is not


def test_interval_of_equal_images_is_pycocotools_score():
    """Each image: a hit above a miss, a second object never found; every resample is alike."""
    objects = {i: [[0, 0, 10, 10], [30, 30, 10, 10]] for i in range(1, 8)}
    records = [box(i, [at, 0, 10, 10], 1 - at / 100) for i in objects for at in (0, 60)]
    found = average_precision(make_index(objects), records)
    assert found.ap50 == pytest.approx(100 * 51 / 101)
    assert found.interval == pytest.approx((found.ap50, found.ap50))


def test_interval_holds_the_score_of_random_boxes():
    draw = np.random.default_rng(0)
    objects = {i: draw.uniform(10, 40, (draw.integers(0, 3), 4)).tolist() for i in range(1, 60)}
    records = [
        box(i, (np.array(b) + draw.normal(0, 4, 4)).tolist(), float(score))
        for i, boxes in objects.items()
        for b in boxes
        for score in draw.uniform(size=2)
    ]
    found = average_precision(make_index(objects), records)
    assert 5 < found.ap50 < 95
    low, high = found.interval
    assert low < found.ap50 < high


@pytest.mark.parametrize(
    ("hits", "weights", "objects", "expected"),
    [
        ([1, 0, 1], [1, 1, 1], 2, (51 + 50 * 2 / 3) / 101),
        ([1, 0, 1], [2, 0, 2], 4, 1.0),  # as if the miss were not there
        ([0, 1], [1, 1], 1, 0.5),
        ([1], [1], 2, 51 / 101),
        ([], [], 2, 0.0),
        ([1], [1], 0, 0.0),
    ],
)
def test_weighted_average(hits, weights, objects, expected):
    assert weighted_ap(np.array(weights), np.array(hits), objects) == pytest.approx(expected)
