"""EdgeBoxes (Zitnick and Dollár 2014) through OpenCV: boxes scored by the contours they enclose.

The method reads an edge map and the orientation of each edge. The authors' are those of a
structured random forest (Dollár and Zitnick 2013), whose model is a file of the user's; without
one, plain image gradients take its place, which is a weaker baseline and is named as such.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ..command_line.cli import existing_file
from ..data.opencv import ximgproc
from ..errors import InputError

# (H, W, 3) uint8 RGB to strength and orientation, both (H, W) float32.
EdgeDetector = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

_BLUR_SIGMA = 1.0
_MAX_BOXES = 100


def structured_edges(model: Path | str) -> EdgeDetector:
    """The structured-edge detector whose model OpenCV reads from a file (model.yml.gz).

    Raises:
        InputError: there is no such file, or it is not a model.
    """
    path = existing_file(os.path.expanduser(model), "--model")
    try:
        forest = ximgproc().createStructuredEdgeDetection(str(path))
    except cv2.error as error:
        raise InputError(
            f"--model {path}: not a structured-edge model; use OpenCV's model.yml.gz, or leave it"
            " out for gradient edges"
        ) from error

    def detect(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        strength = forest.detectEdges(image.astype(np.float32) / 255)
        orientation = forest.computeOrientation(strength)
        return forest.edgesNms(strength, orientation), orientation

    return detect


def gradient_edges(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thin edges from the gradient of the blurred image, of the strongest channel at each pixel.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        Strength, (H, W) float32 from 0 to 1 (the strongest edge of the image), zero but on ridges
        of the gradient; and orientation, (H, W) float32 in [0, π): the direction across the edge,
        from the x axis towards the y axis, as EdgeBoxes has it.
    """
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), _BLUR_SIGMA)
    gradients = np.stack((cv2.Sobel(smooth, -1, 1, 0), cv2.Sobel(smooth, -1, 0, 1)))
    strongest = (gradients**2).sum(axis=0).argmax(axis=-1)
    dx, dy = np.take_along_axis(gradients, strongest[None, ..., None], axis=-1)[..., 0]
    # Equal thresholds of zero: Canny then only thins.
    ridges = cv2.Canny(_rounded(dx), _rounded(dy), 0, 0, L2gradient=True) > 0
    strength = np.where(ridges, np.hypot(dx, dy), 0)
    orientation = np.arctan2(dy, dx) % np.pi
    return (
        (strength / max(strength.max(), 1e-12)).astype(np.float32),
        orientation.astype(np.float32) % np.float32(np.pi),
    )


def _rounded(derivative: np.ndarray) -> np.ndarray:
    return np.rint(derivative).astype(np.int16)


def edge_boxes(image: np.ndarray, detect: EdgeDetector = gradient_edges) -> np.ndarray:
    """Boxes by falling score, with the parameters of the paper's section 4.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (n, 4) int64 xyxy in pixels, right and bottom exclusive; n is 0 where nothing encloses
        a contour.
    """
    method = ximgproc().createEdgeBoxes(maxBoxes=_MAX_BOXES)
    found, _ = method.getBoundingBoxes(*detect(image))
    xywh = np.asarray(found, dtype=np.int64).reshape(-1, 4)
    return np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), axis=1)
