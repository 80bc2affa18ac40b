"""Regions of an image to describe.

"What is where by looking", docs/protocol.md#3-what-is-where-by-looking-wwbl.

Selective search's fast mode, and windows of a half, a third and a quarter of each side; of both,
those that take more than a share of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.ops import box_iou

from ..baselines.selective_search import selective_search
from ..options import option

# (H, W, 3) uint8 RGB to (n, 4) int xyxy.
Proposer = Callable[[np.ndarray], np.ndarray]


GRIDS = ("overlapping", "adjoining")
PIXELS = ("bytes", "floats")


@dataclass(frozen=True)
class ProposalOptions:
    """Which regions.

    A window of a quarter of each side has 6 % of the area and falls out at 10 %.
    """

    min_area: float = option(
        0.1, "share of the image that a region must have more than", min=0, below=1
    )
    windows: tuple[int, ...] = option(
        (2, 3, 4), "image's side, divided by a window's", min=1, empty=True
    )
    stride: float = option(0.5, "from window to window", unit="windows", above=0)
    window_grid: str = option(
        "overlapping",
        "windows by stride, the last at the edge; or adjoining ones, WWbL's code",
        choices=GRIDS,
        later=True,
    )
    search_pixels: str = option(
        "bytes",
        "what selective search sees: bytes, or floats in [-1, 1] as in WWbL's code",
        choices=PIXELS,
        later=True,
    )
    proposal_seed: int = option(0, "of selective search", min=0)


def propose_regions(
    image: np.ndarray, options: ProposalOptions, search: Proposer | None = None
) -> np.ndarray:
    """Regions of an image, selective search's first and best first, no region twice.

    Args:
        image: (H, W, 3) uint8 RGB.
        search: instead of selective search.

    Returns:
        (n, 4) int64 xyxy in pixels, right and bottom exclusive; n may be 0.
    """
    height, width = image.shape[:2]
    if search is None:
        found = selective_search(image, options.proposal_seed, options.search_pixels)
    else:
        found = search(image)
    windows = [
        adjoining_windows(height, width, d)
        if options.window_grid == "adjoining"
        else sliding_windows(height, width, d, options.stride)
        for d in options.windows
    ]
    boxes = np.concatenate((found.reshape(-1, 4).astype(np.int64), *windows))
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    boxes = boxes[areas > options.min_area * height * width]
    _, first = np.unique(boxes, axis=0, return_index=True)
    return boxes[np.sort(first)]


def sliding_windows(height: int, width: int, divisor: int, stride: float) -> np.ndarray:
    """All windows of one size, row by row; the last of a row or column ends at the edge.

    Returns:
        (n, 4) int64 xyxy in pixels; n is at least 1.
    """
    tall, wide = max(1, height // divisor), max(1, width // divisor)
    corners = [(y, x) for y in _starts(height, tall, stride) for x in _starts(width, wide, stride)]
    return np.array([(x, y, x + wide, y + tall) for y, x in corners], dtype=np.int64)


def adjoining_windows(height: int, width: int, divisor: int) -> np.ndarray:
    """The windows of one size that cover an image, row by row, cut off at its edge.

    Returns:
        (divisor², 4) int64 xyxy in pixels, or fewer of an image of few pixels.
    """
    tall, wide = -(-height // divisor), -(-width // divisor)
    corners = [(y, x) for y in range(0, height, tall) for x in range(0, width, wide)]
    return np.array(
        [(x, y, min(x + wide, width), min(y + tall, height)) for y, x in corners], dtype=np.int64
    )


def _starts(side: int, window: int, stride: float) -> list[int]:
    """Where windows begin along a side."""
    step = max(1, round(stride * window))
    return [*range(0, side - window, step), side - window]


def stand_ins(boxes: np.ndarray, same_iou: float | None) -> np.ndarray:
    """The region whose caption each region takes: the first that is nearly the same.

    Args:
        boxes: (n, 4) xyxy.
        same_iou: from which IoU on; None lets every region stand for itself.

    Returns:
        (n,) int64 positions of regions that stand for themselves, none after its own.
    """
    positions = np.arange(len(boxes))
    if same_iou is None:
        return positions
    corners = torch.from_numpy(boxes).double()
    ious = box_iou(corners, corners).numpy()
    for i in range(1, len(boxes)):
        earlier = np.flatnonzero((positions[:i] == np.arange(i)) & (ious[i, :i] >= same_iou))
        if len(earlier):
            positions[i] = earlier[0]
    return positions
