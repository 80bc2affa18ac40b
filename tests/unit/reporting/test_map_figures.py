"""Figures of maps: what is drawn where, and reproducible bytes."""

import io
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from bbr.heuristics.saliency import MethodMap
from bbr.reporting.contact_sheets import PALETTE
from bbr.reporting.map_figures import (
    Cell,
    Column,
    Row,
    Section,
    _fit,
    _paint,
    draw_figure,
    phrase_section,
)
from bbr.reporting.phrase_figure import Example, Result

COLUMNS = [Column("LOST", "f"), Column("LOST", "f^h")]


def row(shape=(60, 80), box=(10, 10, 50, 40), cad=None, truths=((12, 8, 48, 44),)):
    cell = Cell(MethodMap(np.eye(3, 4), (60, 80)), box, cad)
    image = np.full((*shape, 3), 128, dtype=np.uint8)
    return Row(image, np.array(truths, dtype=float).reshape(-1, 4), [cell, cell])


def figure(rows, columns=COLUMNS, width=3.3):
    return draw_figure([Section(columns, rows)], width)


def pixels(made):
    return np.asarray(Image.open(io.BytesIO(made["png"])).convert("RGB")).astype(int)


def count_colour(image, colour):
    wanted = np.round(np.array(to_rgb(colour)) * 255)
    return int((np.abs(image - wanted).max(axis=-1) <= 2).sum())


def test_same_bytes_each_time_and_no_dates():
    first, second = (figure([row()]) for _ in range(2))
    assert first == second
    assert b"Date" not in first["pdf"]
    assert b"tEXt" not in first["png"]


def test_text_of_the_pdf_is_embedded_as_truetype():
    pdf = figure([row()])["pdf"]
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_width_is_what_was_asked_for():
    made = figure([row(), row((80, 60))])
    assert pixels(made).shape[1] == 990  # 300 dots an inch
    box = re.search(rb"/MediaBox \[ ?([\d. ]+)\]", made["pdf"])
    assert float(box[1].split()[2]) == pytest.approx(3.3 * 72, abs=0.1)


def test_boxes_have_their_colours():
    with_cad = pixels(figure([row(cad=(5, 5, 60, 50))]))
    without = pixels(figure([row()]))
    assert count_colour(with_cad, PALETTE[0]) > 500
    assert count_colour(with_cad, PALETTE[1]) > 500
    assert count_colour(without, PALETTE[1]) == 0
    assert count_colour(pixels(figure([row(box=None)])), PALETTE[0]) == 0


def test_equal_boxes_can_both_be_seen():
    image = pixels(figure([row(cad=(10, 10, 50, 40))]))
    shares = [count_colour(image, colour) for colour in PALETTE[:2]]
    assert min(shares) > 0.4 * max(shares)


def test_a_map_is_cut_where_the_image_ends():
    """2 × 2 patches of 4 pixels over an image of 6 × 5: the least is black, the greatest white."""
    values = np.array([[0.0, 1.0], [2.0, 4.0]])
    painted = _paint(Cell(MethodMap(values, (8, 8)), None, None), (6, 5))
    grey = painted[..., 0]
    assert painted.shape == (6, 5, 4)
    assert (grey[:4, :4] == 0).all()
    assert (grey[4:, 4:] == 1).all()
    assert grey[0, 4] == pytest.approx(0.25, abs=0.01)
    assert grey[4, 0] == pytest.approx(0.5, abs=0.01)


def test_a_constant_map_is_black():
    constant = Cell(MethodMap(np.ones((2, 2)), (8, 8)), None, None)
    assert (_paint(constant, (8, 8))[..., :3] == 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (200, 20), (20, 200)])
def test_odd_shapes_and_texts(shape):
    columns = [Column("$odd & 100 %", "f"), Column("a very long title " * 5, "g")]
    figure([row(shape, truths=())], columns)


def test_a_phrase_stands_below():
    """Its row is drawn as the upper one is, and the box found has the same colour."""
    found = Result(np.array([4.0, 4, 30, 20]), np.eye(5))
    image = np.full((60, 80, 3), 128, dtype=np.uint8)
    example = Example("a red mug", image, np.zeros((0, 4)), [found, Result(None, np.eye(5))])
    below = phrase_section(example, ["g", "g^h"])
    assert [column.title for column in below.columns] == ["“a red mug”"] * 2
    upper = Section(COLUMNS, [row(box=None)])
    alone, both = (pixels(draw_figure(s, 3.3)) for s in ([upper], [upper, below]))
    assert both.shape[0] > 1.7 * alone.shape[0]
    assert count_colour(alone, PALETTE[0]) == 0
    upper_half, lower_half = both[: len(both) // 2 - 30], both[len(both) // 2 - 30 :]
    assert count_colour(upper_half, PALETTE[0]) == 0  # the legend is at the bottom
    assert count_colour(lower_half, PALETTE[0]) > 200


def test_long_titles_are_cut():
    assert _fit("a mug", 100) == "a mug"
    cut = _fit("a very long phrase about a mug", 40)
    assert cut.endswith("…")
    assert "a very long phrase".startswith(cut[:-1])
