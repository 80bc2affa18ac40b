"""Contact sheets: places of tiles, colours of boxes, and reproducible bytes."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from PIL import Image

from bbr.reporting.contact_sheets import (
    _WIDTH,
    PALETTE,
    Tile,
    _justify,
    close_up,
    draw_sheet,
    drawn_shares,
)


def tile(shape=(60, 80), boxes=((10, 10, 50, 40),), truths=((12, 8, 48, 44),), title="a.jpg"):
    grey = np.full((*shape, 3), 128, dtype=np.uint8)
    return Tile(grey, title, np.array(truths, dtype=float).reshape(-1, 4), boxes)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def count_colour(image, colour):
    wanted = np.round(np.array(to_rgb(colour)) * 255)
    return int((np.abs(image - wanted).max(axis=-1) <= 2).sum())


def test_same_bytes_each_time():
    assert draw_sheet([tile()], ["LOST"]) == draw_sheet([tile()], ["LOST"])


def test_box_lies_where_it_should():
    """Columns and rows of the drawn box, in the place that the tile takes on the sheet."""
    image = pixels(draw_sheet([tile(truths=())], ["LOST"]))
    grey = np.argwhere((image == 128).all(axis=-1))
    (top, left), (bottom, right) = grey.min(axis=0), grey.max(axis=0) + 1
    scale = (right - left) / 80
    coloured = np.abs(image - np.round(np.array(to_rgb(PALETTE[0])) * 255)).max(axis=-1) <= 2
    found = np.argwhere(coloured[top:bottom, left:right]) / scale
    np.testing.assert_allclose(found.min(axis=0), (10, 10), atol=0.5)
    np.testing.assert_allclose(found.max(axis=0), (40, 50), atol=0.5)


def test_identical_boxes_of_all_methods_can_be_seen():
    boxes = [(10, 10, 50, 40)] * 3
    names = ["a", "b", "c"]
    everything = pixels(draw_sheet([tile(boxes=boxes)], names))
    for i in range(3):
        without = pixels(draw_sheet([tile(boxes=[*boxes[:i], None, *boxes[i + 1 :]])], names))
        assert (everything != without).any(axis=-1).sum() > 1000


def test_outlines_are_shared_only_among_equal_boxes():
    box, other = (0, 0, 9, 9), (0, 0, 9, 12)
    assert drawn_shares([box, other]) == [1.0, 1.0]
    assert drawn_shares([box, other, box, None]) == [1.0, 1.0, 0.5, 1.0]
    assert drawn_shares([box, (0.4, 0, 9, 9)]) == [1.0, 0.5]


def test_no_box_and_no_truth():
    bare = pixels(draw_sheet([tile(boxes=[None], truths=())], ["LOST"]))
    boxed = pixels(draw_sheet([tile(truths=())], ["LOST"]))
    assert count_colour(bare, PALETTE[0]) < count_colour(boxed, PALETTE[0])


def test_odd_texts_are_drawn_as_they_are():
    names = ["$x^h$ and 100 %", "a very long name " * 12]
    draw_sheet([tile(boxes=[None, None], title="$" * 300)], names)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (2000, 30)])
def test_extreme_shapes(shape):
    assert pixels(draw_sheet([tile(shape), tile()], ["LOST"])).shape[2] == 3


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60))
def test_tiles_stay_on_the_sheet_and_apart(shapes):
    places, width, height = _justify(shapes, lambda _: 20)
    covered = np.zeros((height, width), dtype=int)
    for place, shape in zip(places, shapes, strict=True):
        assert place.width / place.height == pytest.approx(shape, rel=0.15)
        covered[place.y : place.y + place.height, place.x : place.x + place.width] += 1
    assert covered.max() == 1
    assert covered.sum() == sum(place.width * place.height for place in places)
    assert width <= _WIDTH


class TestCloseUp:
    IMAGE = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)

    def test_a_box_and_what_is_around_it(self):
        shown = close_up(self.IMAGE, "a.jpg", [20, 10, 60, 30], 0.25)
        assert (shown.image == self.IMAGE[0:40, 10:70]).all()
        assert shown.boxes == [[10, 10, 50, 30]]

    def test_cut_off_at_the_edges_of_the_image(self):
        shown = close_up(self.IMAGE, "a.jpg", [40.5, 20.5, 80, 60], 0.5)
        assert (shown.image == self.IMAGE[0:60, 20:80]).all()
        assert shown.boxes == [[20.5, 20.5, 60, 60]]

    def test_of_a_tiny_box_more_is_shown(self):
        shown = close_up(self.IMAGE, "a.jpg", [40, 30, 42, 32], 0.5)  # 15 pixels on each side
        assert (shown.image == self.IMAGE[15:47, 25:57]).all()
        assert shown.boxes == [[15, 15, 17, 17]]

    @pytest.mark.parametrize("box", [(5, 5, 5, 5), (80, 60, 80, 60), (0, 0, 0, 60)])
    def test_a_box_without_an_area_can_be_drawn(self, box):
        assert pixels(draw_sheet([close_up(self.IMAGE, "a.jpg", box, 0)], ["a"])).any()
