"""Figures of maps: images in rows, networks and heuristics in columns (paper, figures 1 and 4).

A figure has one section or more below each other, each with its own columns, as the upper and the
lower row of Figure 1: what a heuristic looks at, and where g finds a phrase.

Sizes are in points; the figure is meant to be printed at its own width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from string import ascii_lowercase

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from ..heuristics.saliency import MethodMap
from ..storage.figure_files import encode_figure
from .contact_sheets import PALETTE, Box, draw_outlines, drawn_shares
from .phrase_figure import Example

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph

Line = tuple[np.ndarray, str, float, float]

_DPI = 300
_POINTS = 72  # an inch
_GAP, _MARGIN = 2.5, 1.5
_HEAD, _LEGEND = 21.0, 15.0
_TITLES, _RULE, _LETTERS = 7.5, 10.0, 18.0  # baselines and a line, from the top
_TALLEST = 1.35  # of a cell, as a multiple of its width
_TEXT = 7.0  # points; readers ask for 6 at least
_NETWORKS = {name: f"${name[0]}$" for name in ("f", "g")}
_NETWORKS |= {f"{name}^h": f"${name}^{{\\,h}}$" for name in ("f", "g")}
_INK, _FAINT = "#222222", "#888888"
_COLOURS = colormaps["gray"]  # every colour of the palette stands out from it, in print too
_BOX, _TRUTH_BOX, _EDGE, _DASHES = 1.1, 0.7, 0.8, 7.0
_HEURISTIC, _CAD, _TRUTH = PALETTE[0], PALETTE[1], "white"
_SWATCH, _APART = (10.0, 6.0), 12.0  # in the legend
_FULL_WEIGHT, _MIN_WEIGHT = 60.0, 0.7  # narrower cells have thinner lines, down to this part


@dataclass(frozen=True)
class Column:
    """What a column shows: the map of a heuristic on one network, or of g.

    Attributes:
        title: of the heuristic, or a phrase; neighbours of one title share it.
        network: `f`, `f^h`, `g` or `g^h`.
    """

    title: str
    network: str


@dataclass(frozen=True)
class Cell:
    """One image in one column.

    Attributes:
        map: what the heuristic looks at, high where the object is.
        heuristic, cad: boxes `xyxy` in image pixels, or None; of g's map, `heuristic` is its box.
    """

    map: MethodMap
    heuristic: Box | None
    cad: Box | None


@dataclass(frozen=True)
class Row:
    """One image: (H, W, 3) uint8 RGB, (m, 4) ground-truth boxes `xyxy`, and a cell per column."""

    image: np.ndarray
    truths: np.ndarray
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Section:
    """Rows below one head; `columns` are one for each cell of a row, and there is a row."""

    columns: Sequence[Column]
    rows: Sequence[Row]


def phrase_section(example: Example, names: Sequence[str]) -> Section:
    """A phrase with the maps and boxes that the networks called `names` have for it."""
    size = (float(example.image.shape[0]), float(example.image.shape[1]))
    cells = []
    for result in example.results:
        if result.heatmap is None:
            raise ValueError("a result without a heatmap has no place among maps")
        cells.append(Cell(MethodMap(result.heatmap, size), result.box, None))
    columns = [Column(f"“{example.phrase}”", name) for name in names]
    return Section(columns, [Row(example.image, example.truths, cells)])


def draw_figure(sections: Sequence[Section], width: float) -> dict[str, bytes]:
    """The figure as `png` and as `pdf`.

    The first column shows the images, with ground truth where there is one; each other column
    a map, grey from its least to its greatest value, with the boxes of the heuristic and of CAD.

    Args:
        sections: at least one, from the top.
        width: in inches.
    """
    total = width * _POINTS
    heights = [_row_heights(section, total) for section in sections]
    total_height = sum(_HEAD + sum(own) + _GAP * len(own) for own in heights) + _LEGEND
    figure = Figure(figsize=(width, total_height / _POINTS), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    top, letters = 0.0, iter(ascii_lowercase)
    for section, own in zip(sections, heights, strict=True):
        lefts, side = _places(section, total)
        _draw_head(axes, section.columns, lefts, side, top, letters)
        top += _HEAD
        for row, height in zip(section.rows, own, strict=True):
            _draw_row(axes, row, lefts, top, side, height)
            top += height + _GAP
    _draw_legend(axes, [row for s in sections for row in s.rows], total, top + _LEGEND / 2)
    axes.set_xlim(0, total)  # images have moved them
    axes.set_ylim(total_height, 0)
    return {kind: encode_figure(figure, _DPI, kind) for kind in ("png", "pdf")}


def _places(section: Section, total: float) -> tuple[list[float], float]:
    """The left edges of a section's cells, the image's first, and their width."""
    count = 1 + len(section.columns)
    side = (total - 2 * _MARGIN - _GAP * (count - 1)) / count
    return [_MARGIN + i * (side + _GAP) for i in range(count)], side


def _row_heights(section: Section, total: float) -> list[float]:
    _, side = _places(section, total)
    shapes = [row.image.shape for row in section.rows]
    return [side * min(height / width, _TALLEST) for height, width, _ in shapes]


def _draw_head(
    axes: Axes,
    columns: Sequence[Column],
    lefts: Sequence[float],
    side: float,
    top: float,
    letters: Iterator[str],
) -> None:
    """Titles over the columns that share them, and a letter and a network for each."""
    _write(axes, lefts[0] + side / 2, top + _TITLES, "image")
    _write(axes, lefts[0] + side / 2, top + _LETTERS, f"({next(letters)})")
    spots = [(column, x, next(letters)) for column, x in zip(columns, lefts[1:], strict=True)]
    for title, group in groupby(spots, key=lambda spot: spot[0].title):
        members = list(group)
        left, right = members[0][1], members[-1][1] + side
        _write(axes, (left + right) / 2, top + _TITLES, _fit(title, right - left))
        rule = top + _RULE
        axes.plot((left + 1, right - 1), (rule, rule), color=_FAINT, linewidth=0.4)
        for column, x, letter in members:
            name = _NETWORKS.get(column.network, column.network)
            _write(axes, x + side / 2, top + _LETTERS, f"({letter}) {name}", math=True)


def _fit(text: str, width: float) -> str:
    """As much of the beginning of `text` as fits into `width` points."""
    if not text or _text_width(text) <= width:
        return text
    while text and _text_width(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def _draw_row(
    axes: Axes, row: Row, lefts: Sequence[float], top: float, side: float, height: float
) -> None:
    pixels = row.image.shape[:2]
    scale = min(side / pixels[1], height / pixels[0])
    weight = min(1.0, max(_MIN_WEIGHT, side / _FULL_WEIGHT))
    truths = [(box, _TRUTH, _TRUTH_BOX, 1.0) for box in row.truths]
    pictures = [(row.image, "antialiased", truths)]
    for cell in row.cells:
        pictures.append((_paint(cell, pixels), "nearest", _lines(cell)))
    for (picture, interpolation, lines), left in zip(pictures, lefts, strict=True):
        x = left + (side - scale * pixels[1]) / 2
        extent = (x, x + scale * pixels[1], top + scale * pixels[0], top)
        axes.imshow(picture, extent=extent, interpolation=interpolation, aspect="auto")
        placed = [
            (box * scale + np.tile((x, top), 2), colour, width * weight, share)
            for box, colour, width, share in lines
        ]
        draw_outlines(axes, placed, _EDGE * weight, _DASHES)


def _lines(cell: Cell) -> list[Line]:
    boxes = (cell.heuristic, cell.cad)
    return [
        (np.asarray(box, dtype=float), colour, _BOX, share)
        for box, colour, share in zip(boxes, (_HEURISTIC, _CAD), drawn_shares(boxes), strict=True)
        if box is not None
    ]


def _paint(cell: Cell, pixels: tuple[int, int]) -> np.ndarray:
    """A map in colours: (H, W, 4), what it covers beyond the image cut off."""
    height, width = (max(1, round(side)) for side in cell.map.covered)
    values = np.asarray(cell.map.values, dtype=np.float64)
    # OpenCV rounds places in the map down: what lies in a patch gets that patch's value.
    spread = cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST)
    shown = spread[: pixels[0], : pixels[1]]
    low, high = shown.min(), shown.max()
    return _COLOURS((shown - low) / (high - low) if high > low else np.zeros_like(shown))


def _draw_legend(axes: Axes, rows: Sequence[Row], total: float, middle: float) -> None:
    """What the colours of the boxes mean, of those that are there."""
    cells = [cell for row in rows for cell in row.cells]
    entries = [
        ("box of the map", _HEURISTIC, any(cell.heuristic is not None for cell in cells)),
        ("CAD", _CAD, any(cell.cad is not None for cell in cells)),
        ("ground truth", _TRUTH, any(len(row.truths) for row in rows)),
    ]
    shown = [(name, colour) for name, colour, is_there in entries if is_there]
    advances = [_SWATCH[0] + 4 + _text_width(name) + _APART for name, _ in shown]
    x = (total - sum(advances) + _APART) / 2
    for (name, colour), advance in zip(shown, advances, strict=True):
        box = np.array((x, middle - _SWATCH[1] / 2, x + _SWATCH[0], middle + _SWATCH[1] / 2))
        width = _TRUTH_BOX if colour == _TRUTH else _BOX
        draw_outlines(axes, [(box, colour, width, 1.0)], _EDGE)
        _write(axes, x + _SWATCH[0] + 4, middle + 0.36 * _TEXT, name, "left")
        x += advance


def _text_width(text: str) -> float:
    """In points."""
    return TextPath((0, 0), text, size=_TEXT).get_extents().width


def _write(
    axes: Axes, x: float, baseline: float, text: str, align: str = "center", math: bool = False
) -> None:
    axes.text(
        x, baseline, text, fontsize=_TEXT, color=_INK, ha=align, va="baseline", parse_math=math
    )
