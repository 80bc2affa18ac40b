"""Figure 3: a phrase, its image, and each network's heatmap and box beside the ground truth."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..evaluation.corloc import aligned_iou, union_box
from ..storage.figure_files import encode_figure

# Sizes in inches.
_CELL, _GAP, _TEXT, _HEAD, _NOTE = 1.5, 0.08, 1.25, 0.28, 0.2
_DPI = 120
_FONT = 9
_TRUTH, _FOUND, _EDGE = "#009E73", "black", "white"
_HEAT_SHARE = 0.55  # of the heatmap in the overlay, whose colours differ in lightness for every eye
_LINE = 1.8


@dataclass(frozen=True)
class Result:
    """What one network made of a phrase.

    Attributes:
        box: (4,) `xyxy` in pixels of the image, the union of its boxes, or None.
        heatmap: (H, W) in [0, 1] to lay over the image, or None.
    """

    box: np.ndarray | None
    heatmap: np.ndarray | None


@dataclass(frozen=True)
class Example:
    """One row.

    Attributes:
        phrase: in words.
        image: (h, w, 3) uint8 RGB.
        truths: (m, 4) `xyxy` boxes; m may be 0.
        results: one per network.
    """

    phrase: str
    image: np.ndarray
    truths: np.ndarray
    results: Sequence[Result]


def draw_groundings(examples: Sequence[Example], names: Sequence[str], columns: int = 2) -> bytes:
    """A PNG of all examples, in `columns` of (phrase, image, one cell per network) side by side.

    Ground truth is green; the box found is black, on a white edge; below it is their IoU.

    Args:
        examples: at least one.
        names: of the networks.
    """
    columns = min(columns, len(examples))
    rows = -(-len(examples) // columns)
    block = _TEXT + (1 + len(names)) * (_CELL + _GAP) + 2 * _GAP
    width, height = columns * block, _HEAD + rows * (_CELL + _NOTE + _GAP) + _GAP
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)

    def place(x: float, y: float) -> Axes:
        """A square cell whose top left corner is at (x, y) inches from the figure's."""
        box = (x / width, 1 - (y + _CELL) / height, _CELL / width, _CELL / height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        return axes

    def write(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, text, fontsize=_FONT, parse_math=False, **style)

    across = [_TEXT + position * (_CELL + _GAP) for position in range(1 + len(names))]
    for column in range(columns):
        for x, name in zip(across, ["image", *names], strict=True):
            middle = column * block + x + _CELL / 2
            write(middle, _HEAD / 2, name, ha="center", va="center", weight="bold")
    for number, example in enumerate(examples):
        row, column = divmod(number, columns)
        left, top = column * block + _GAP, _HEAD + row * (_CELL + _NOTE + _GAP)
        phrase = "\n".join(textwrap.wrap(example.phrase, 14)[:8])
        write(left, top + _CELL / 2, phrase, ha="left", va="center", style="italic")
        for offset, result in zip(across, [None, *example.results], strict=True):
            x = column * block + offset
            _draw_cell(place(x, top), example, result)
            if result is not None:
                below = {"ha": "center", "va": "center", "color": "#555555"}
                middle = x + _CELL / 2
                write(middle, top + _CELL + _NOTE / 2, _note(example, result), **below)
    return encode_figure(figure)


def _draw_cell(axes: Axes, example: Example, result: Result | None) -> None:
    """The image alone, or with a network's result and the ground truth over it."""
    image = example.image
    if result is not None and result.heatmap is not None:
        image = _overlay(image, result.heatmap)
    axes.imshow(image, interpolation="bilinear")
    if result is None:
        return
    for truth in example.truths:
        _draw_box(axes, truth, _TRUTH)
    if result.box is not None:
        _draw_box(axes, result.box, _FOUND)


def _overlay(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    resized = cv2.resize(heatmap.astype(np.float32), (width, height)).clip(0, 1)
    colours = colormaps["magma"](resized)[..., :3] * 255
    return (image * (1 - _HEAT_SHARE) + colours * _HEAT_SHARE).astype(np.uint8)


def _draw_box(axes: Axes, box: np.ndarray, colour: str) -> None:
    x1, y1, x2, y2 = box - 0.5  # matplotlib's pixel centres are whole numbers
    for drawn, line in ((_EDGE, _LINE + 1.4), (colour, _LINE)):
        axes.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=drawn, linewidth=line)
        )


def _note(example: Example, result: Result) -> str:
    if result.box is None:
        return "no box"
    if not len(example.truths):
        return ""
    iou = aligned_iou(result.box[None], union_box(example.truths)[None])[0]
    return f"IoU {iou:.2f}"
