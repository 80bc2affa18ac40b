"""Contact sheets: images with their ground truth and the boxes of one or more methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..evaluation.corloc import best_ious
from ..storage.figure_files import encode_figure

Box = Sequence[float] | np.ndarray  # `xyxy` in pixels

# Okabe and Ito's palette, which colour-blind readers can tell apart; strongest contrasts first.
PALETTE = ("#D55E00", "#56B4E9", "#F0E442", "#009E73", "#CC79A7", "#0072B2", "#E69F00")

# Sizes in pixels. The figure has 72 dots per inch, so that points are pixels too.
_DPI = 72
_WIDTH, _MIN_WIDTH = 1600, 640
_ROW_HEIGHT, _TALLEST_ROW = 260, 400
_MARGIN, _GAP = 24, 14
_CAPTION_HEIGHT, _CAPTION_SIZE = 20, 13
_LEGEND_HEIGHT, _LEGEND_SIZE = 34, 18
_LINE, _LINE_EDGE, _TRUTH_LINE = 3.0, 1.6, 1.4
_DASH_PERIOD = 24
_IOU_WIDTH = 58  # a swatch and a number below a tile
_INK, _FAINT = "#222222", "#666666"


@dataclass(frozen=True)
class Tile:
    """One image of a sheet.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        title: its caption.
        truths: (m, 4) ground-truth boxes, `xyxy` in pixels; m may be 0.
        boxes: one `xyxy` box per method, None where a method has none.
    """

    image: np.ndarray
    title: str
    truths: np.ndarray
    boxes: Sequence[Sequence[float] | None]


@dataclass(frozen=True)
class _Place:
    """Where an image lies, in pixels from the top left corner of the sheet."""

    x: int
    y: int
    width: int
    height: int


def close_up(image: np.ndarray, title: str, box: Box, margin: float) -> Tile:
    """A tile of one box with a little of what is around it, so that small ones are seen too.

    Args:
        image: (H, W, 3) uint8, RGB; the box is `xyxy` in its pixels.
        margin: what is shown around it, in its longer or half the image's shorter side, the larger.
    """
    x1, y1, x2, y2 = map(float, box)
    around = margin * max(x2 - x1, y2 - y1, min(image.shape[:2]) / 2)
    ends = zip((x1, y1), image.shape[1::-1], strict=True)
    left, top = (max(0, min(int(start - around), end - 1)) for start, end in ends)
    right, bottom = (max(int(np.ceil(b + around)), a + 1) for b, a in ((x2, left), (y2, top)))
    moved = [x1 - left, y1 - top, x2 - left, y2 - top]
    return Tile(image[top:bottom, left:right], title, np.zeros((0, 4)), [moved])


def draw_sheet(tiles: Sequence[Tile], names: Sequence[str]) -> bytes:
    """A PNG of all tiles, in rows of equal height, with a legend.

    Ground truth is a thin white line with a black edge. Methods have one colour each, in turns
    along the outline where their boxes are equal. The caption of a tile gives each method's IoU
    with the ground-truth box that it overlaps most.

    Args:
        tiles: at least one.
        names: of the methods, at most as many as `PALETTE` has colours.
    """
    figure = Figure(dpi=_DPI, facecolor="white")
    measure = _measurer(FigureCanvasAgg(figure))
    has_truth = any(len(tile.truths) for tile in tiles)
    entries = [*(["ground truth"] if has_truth else []), *names]
    colours = [*(["white"] if has_truth else []), *PALETTE]

    def caption_height(width: int) -> int:
        return _CAPTION_HEIGHT * (1 + has_truth * -(-len(names) // _ious_per_line(width)))

    shapes = [tile.image.shape[1] / tile.image.shape[0] for tile in tiles]
    places, width, height = _justify(shapes, caption_height)
    legend, top = _flow_legend(entries, width, measure)
    places = [replace(place, y=place.y + top) for place in places]
    height += top

    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    for tile, place in zip(tiles, places, strict=True):
        region = np.s_[place.y : place.y + place.height, place.x : place.x + place.width]
        canvas[region] = _resize(tile.image, place.width, place.height)
    figure.set_size_inches(width / _DPI, height / _DPI)
    figure.figimage(canvas, origin="upper")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), zorder=1)
    axes.set_axis_off()

    for entry, colour, (x, y) in zip(entries, colours, legend, strict=False):
        _draw_swatch(axes, (x, y - 9, x + 26, y + 9), colour, 3)
        _write(axes, x + 36, y, entry, _LEGEND_SIZE, _INK)
    for tile, place in zip(tiles, places, strict=True):
        _draw_tile(axes, tile, place, measure)
    return encode_figure(figure)


def _measurer(canvas: FigureCanvasAgg) -> Callable[[str, float], float]:
    """A function that gives the width of a text of some size, in pixels."""
    renderer = canvas.get_renderer()

    def measure(text: str, size: float) -> float:
        probe = canvas.figure.text(0, 0, text, fontsize=size, parse_math=False)
        width = probe.get_window_extent(renderer).width
        probe.remove()
        return width

    return measure


def _flow_legend(
    entries: Sequence[str], sheet_width: int, measure: Callable[[str, float], float]
) -> tuple[list[tuple[float, float]], int]:
    """Left middle of each legend entry, wrapped like words, and where the tiles begin."""
    spots, x, line = [], float(_MARGIN), 0
    for entry in entries:
        advance = 36 + measure(entry, _LEGEND_SIZE) + 36
        if x > _MARGIN and x + advance > sheet_width:
            x, line = float(_MARGIN), line + 1
        spots.append((x, _MARGIN + (line + 0.5) * _LEGEND_HEIGHT))
        x += advance
    return spots, _MARGIN + (line + 1) * _LEGEND_HEIGHT + _GAP


def _justify(
    shapes: Sequence[float], caption_height: Callable[[int], int]
) -> tuple[list[_Place], int, int]:
    """Places in rows that all fill the sheet's width, and the sheet's width and height.

    Each row takes about the same sum of aspect ratios, and is then scaled to the width; a row
    that would become too tall stays shorter instead.

    Args:
        shapes: width / height of each image.
        caption_height: the height of a tile's caption, from the tile's width.
    """
    inner = _WIDTH - 2 * _MARGIN
    total = sum(shapes)
    row_count = max(1, round(total * _ROW_HEIGHT / inner))
    middles = np.cumsum(shapes) - np.asarray(shapes) / 2
    rows = np.minimum((middles / total * row_count).astype(int), row_count - 1)
    places, y, right = [], 0, _MIN_WIDTH - _MARGIN
    for row in np.unique(rows):
        members = [shapes[i] for i in np.flatnonzero(rows == row).tolist()]
        free = inner - _GAP * (len(members) - 1)
        exact_height = min(free / sum(members), _TALLEST_ROW)
        height = max(1, round(exact_height))
        # Edges are rounded, not widths, so that all full rows end at the same pixel.
        edges = _MARGIN + np.concatenate(([0], np.cumsum(members))) * exact_height
        for i in range(len(members)):
            left, end = round(edges[i]), round(edges[i + 1])
            places.append(_Place(left + i * _GAP, y, max(1, end - left), height))
        right = max(right, places[-1].x + places[-1].width)
        y += height + max(caption_height(p.width) for p in places[-len(members) :]) + _GAP
    return places, right + _MARGIN, y - _GAP + _MARGIN


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    shrinks = width < image.shape[1]
    return cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )


def _draw_tile(
    axes: Axes, tile: Tile, place: _Place, measure: Callable[[str, float], float]
) -> None:
    scale = np.tile((place.width / tile.image.shape[1], place.height / tile.image.shape[0]), 2)
    offset = np.tile((place.x, place.y), 2)
    lines = [(truth, "white", _TRUTH_LINE, 1.0) for truth in tile.truths]
    for colour, box, share in zip(PALETTE, tile.boxes, drawn_shares(tile.boxes), strict=False):
        if box is not None:
            lines.append((np.asarray(box), colour, _LINE, share))
    draw_outlines(axes, [(box * scale + offset, *line) for box, *line in lines])

    title = _shorten(tile.title, place.width, measure)
    _write(axes, place.x, place.y + place.height + 12, title, _CAPTION_SIZE, _FAINT)
    if not len(tile.truths):
        return
    per_line = _ious_per_line(place.width)
    for i, box in enumerate(tile.boxes):
        iou = "–" if box is None else f"{best_ious({0: box}, {0: tile.truths})[0]:.2f}"
        x = place.x + i % per_line * _IOU_WIDTH
        y = place.y + place.height + 12 + (1 + i // per_line) * _CAPTION_HEIGHT
        _draw_swatch(axes, (x + 1, y - 4, x + 9, y + 4), PALETTE[i], 2)
        _write(axes, x + 14, y, iou, _CAPTION_SIZE, _INK)


def _ious_per_line(width: int) -> int:
    return max(1, width // _IOU_WIDTH)


def drawn_shares(boxes: Sequence[Box | None]) -> list[float]:
    """How much of each outline to draw, in dashes: 1 unless methods agree to within a pixel.

    They often do on a grid of patches. Among n equal boxes the first is drawn solid and each next
    covers 1/n less, on top, so that every colour shows on an equal part.
    """
    shares = []
    for i, box in enumerate(boxes):
        equal = [j for j, other in enumerate(boxes) if _agree(box, other)]
        shares.append(1 - equal.index(i) / len(equal) if equal else 1.0)
    return shares


def _agree(first: Box | None, second: Box | None) -> bool:
    return first is not None and second is not None and np.allclose(first, second, rtol=0, atol=1)


def draw_outlines(
    axes: Axes,
    lines: Sequence[tuple[np.ndarray, str, float, float]],
    edge: float = _LINE_EDGE,
    period: float = _DASH_PERIOD,
) -> None:
    """Outlines of boxes, each of one colour with a black edge.

    Args:
        lines: box `xyxy` in the units of the axes, colour, width in points, and the share that
            is drawn, in dashes (see `drawn_shares`).
        edge: what the black line beneath is wider by, in points.
        period: of the dashes, in points.
    """
    # All dark edges below all colours, or a box would hide an equal one of another method.
    for box, _, width, _ in lines:
        _draw_box(axes, box, "black", width + edge)
    for box, colour, width, share in lines:
        _draw_box(axes, box, colour, width, share, period)


def _draw_swatch(axes: Axes, xyxy: Sequence[float], colour: str, width: float) -> None:
    _draw_box(axes, xyxy, "black", width + _LINE_EDGE)
    _draw_box(axes, xyxy, colour, width)


def _draw_box(
    axes: Axes,
    xyxy: Box,
    colour: str,
    width: float,
    share: float = 1.0,
    period: float = _DASH_PERIOD,
) -> None:
    x1, y1, x2, y2 = xyxy
    on = period * share / width  # dashes are in units of the line width
    style = "solid" if share == 1 else (0, (on, period / width - on))
    # Without snapping, which would shift a line and its edge differently.
    axes.add_patch(
        Rectangle(
            (x1, y1),
            x2 - x1,
            y2 - y1,
            fill=False,
            edgecolor=colour,
            linewidth=width,
            joinstyle="miter",
            capstyle="butt",
            linestyle=style,
            snap=False,
        )
    )


def _write(axes: Axes, x: float, y: float, text: str, size: float, colour: str) -> None:
    axes.text(x, y, text, fontsize=size, color=colour, va="center_baseline", parse_math=False)


def _shorten(text: str, width: float, measure: Callable[[str, float], float]) -> str:
    """As much of the end of `text` as fits into `width` pixels: names differ in their ends."""
    if measure(text, _CAPTION_SIZE) <= width:
        return text
    while text and measure(f"…{text}", _CAPTION_SIZE) > width:
        text = text[1:]
    return f"…{text}"
