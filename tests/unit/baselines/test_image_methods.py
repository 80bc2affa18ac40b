"""Selective search and EdgeBoxes: their order, edges, and images without anything to find."""

import cv2
import numpy as np
import pytest

from bbr.baselines.edge_boxes import edge_boxes, gradient_edges, structured_edges
from bbr.baselines.image_methods import METHODS, first_box, make_proposer
from bbr.baselines.selective_search import selective_search
from bbr.errors import InputError

DISC = cv2.circle(np.zeros((120, 160, 3), np.uint8), (90, 60), 30, (255, 200, 10), -1)
DISC_BOX = [60, 30, 121, 91]
NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def overlap(box, other):
    (ax, ay, ar, ab), (bx, by, br, bb) = box, other
    inside = max(0, min(ar, br) - max(ax, bx)) * max(0, min(ab, bb) - max(ay, by))
    return inside / ((ar - ax) * (ab - ay) + (br - bx) * (bb - by) - inside)


def test_edge_boxes_finds_a_disc_first():
    assert overlap(edge_boxes(DISC)[0], DISC_BOX) > 0.7


def test_gradient_edges_of_a_step():
    """A vertical step: one thin line of strength 1, whose normal is the x axis."""
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, 15:, 1] = 200
    strength, orientation = gradient_edges(image)
    columns = np.unique(np.nonzero(strength[2:-2])[1])
    assert set(columns) <= {14, 15}
    assert len(columns) == 1
    assert strength.max() == 1
    assert np.abs(np.sin(orientation[strength > 0])).max() < 1e-5
    assert strength.dtype == orientation.dtype == np.float32


@pytest.mark.parametrize(("slope", "angle"), [(1, np.pi / 4), (-1, 3 * np.pi / 4)])
def test_orientation_turns_from_x_towards_y(slope, angle):
    y, x = np.mgrid[:40, :40]
    image = np.repeat(((x + slope * y > 20 + 20 * slope) * 200)[..., None], 3, axis=2)
    strength, orientation = gradient_edges(image.astype(np.uint8))
    # Derivatives of a pixelated diagonal lean on neither axis.
    assert np.median(orientation[strength > 0.5]) == pytest.approx(angle, abs=0.02)


def test_selective_search_turns_the_order_of_opencv():
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(NOISE[..., ::-1].copy())
    search.switchToSelectiveSearchFast()
    theirs = {(x, y, x + w, y + h) for x, y, w, h in search.process().tolist()}
    boxes = selective_search(NOISE)
    assert set(map(tuple, boxes.tolist())) == theirs
    assert len(boxes) == len(theirs)


def test_large_regions_come_first():
    """Initial segments are ranked by a random number below 1, others by up to their level."""
    colours = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    boxes = selective_search(colours.repeat(16, axis=0).repeat(16, axis=1))
    half = len(boxes) // 2
    assert area(boxes[:half]).mean() > area(boxes[half:]).mean()


def area(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def test_selective_search_depends_on_image_and_seed_alone():
    first = selective_search(NOISE, 3)
    selective_search(DISC, 5)
    np.testing.assert_array_equal(selective_search(NOISE, 3), first)
    assert not np.array_equal(selective_search(NOISE, 0), selective_search(NOISE, 1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (40, 60), (2, 90), (90, 1)])
def test_an_image_with_nothing_to_find_is_the_object(method, shape):
    image = np.full((*shape, 3), 7, np.uint8)
    height, width = shape
    assert first_box(image, make_proposer(method), 500).tolist() == [0, 0, width, height]


@pytest.mark.parametrize("method", METHODS)
def test_boxes_come_back_in_pixels_of_the_image(method):
    x1, y1, x2, y2 = first_box(NOISE, make_proposer(method), 30)
    assert 0 <= x1 < x2 <= 80
    assert 0 <= y1 < y2 <= 60


def test_shrinking_scales_boxes_back():
    seen = []

    def propose(image):
        seen.append(image.shape)
        return np.array([[0, 0, 20, 10], [0, 0, 1, 1]])

    assert first_box(np.zeros((60, 100, 3), np.uint8), propose, 50).tolist() == [0, 0, 40, 20]
    assert seen == [(30, 50, 3)]


def test_bad_choices(tmp_path):
    (tmp_path / "bad.yml.gz").write_bytes(b"not a model")
    with pytest.raises(InputError, match="'edges' is unknown; choose one of selective_search"):
        make_proposer("edges")
    with pytest.raises(InputError, match="has no --model"):
        make_proposer("selective_search", model="m")
    with pytest.raises(InputError, match=r"none\.gz: no such file"):
        structured_edges(tmp_path / "none.gz")
    with pytest.raises(InputError, match="not a structured-edge model"):
        structured_edges(tmp_path / "bad.yml.gz")


def test_opencv_without_contributed_modules(monkeypatch):
    monkeypatch.delattr(cv2, "ximgproc")
    image = np.zeros((32, 32, 3), np.uint8)
    for call in (lambda: selective_search(image), lambda: edge_boxes(image, gradient_edges)):
        with pytest.raises(InputError, match="install opencv-contrib-python-headless"):
            call()
