"""Methods that need no more than the image: pixels to the one box that each ranks highest.

Selective search and EdgeBoxes rank thousands of proposals; discovery asks for one box per image,
which is the first of the method's own ranking. Where a method finds nothing, the box is the whole
image.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..errors import InputError
from .edge_boxes import EdgeDetector, edge_boxes, gradient_edges, structured_edges
from .selective_search import selective_search

METHODS = ("selective_search", "edge_boxes")
EDGES = ("gradients", "hed")

# (H, W, 3) uint8 RGB to (n, 4) xyxy boxes in its pixels, best first; n may be 0.
Proposer = Callable[[np.ndarray], np.ndarray]


def make_proposer(
    method: str, seed: int = 0, model: str | None = None, edges: str = "gradients"
) -> Proposer:
    """The ranked proposals of a method.

    Args:
        method: one of `METHODS`.
        seed: of selective search's random factors.
        model: EdgeBoxes' structured-edge model, a file.
        edges: one of `EDGES`, which EdgeBoxes reads without a model.

    Raises:
        InputError: the method is unknown or has no model or edges, or what it is to read is not
            there or cannot be read.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    if method == "selective_search":
        if model is not None or edges != "gradients":
            raise InputError("method selective_search has no --model and no --edges; leave it out")
        return lambda image: selective_search(image, seed)
    if model is not None and edges != "gradients":
        raise InputError(f"--edges {edges}: --model has edges of its own; leave one of them out")
    detect = _edge_detector(edges) if model is None else structured_edges(model)
    return lambda image: edge_boxes(image, detect)


def _edge_detector(edges: str) -> EdgeDetector:
    if edges == "gradients":
        return gradient_edges
    from .hed import hed_edges  # and with it torch, which no other method here needs

    return hed_edges()


def first_box(image: np.ndarray, propose: Proposer, max_side: int) -> np.ndarray:
    """The proposal that a method ranks first, or the whole image where it has none.

    Args:
        image: (H, W, 3) uint8 RGB.
        max_side: larger images are shrunk to this, height and width alike, for the method.

    Returns:
        (4,) float64 xyxy in pixels of `image`.
    """
    height, width = image.shape[:2]
    shrink = min(1.0, max_side / max(height, width))
    small = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    if shrink < 1:
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    boxes = propose(image)
    if len(boxes) == 0:
        return np.array([0, 0, width, height], dtype=np.float64)
    return boxes[0] * np.tile((width / small[0], height / small[1]), 2)
