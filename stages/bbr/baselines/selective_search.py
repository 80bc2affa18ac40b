"""Selective search (Uijlings et al. 2013) through OpenCV: region proposals of one image, ranked.

The fast mode: colour spaces HSV and Lab, three initial segmentations each, and two measures of
similarity, so twelve hierarchies of regions.
"""

from __future__ import annotations

import ctypes

import cv2
import numpy as np

from ..data.opencv import ximgproc


def selective_search(image: np.ndarray, seed: int = 0, pixels: str = "bytes") -> np.ndarray:
    """Region proposals, best first.

    Uijlings et al. rank the regions of each hierarchy from the top, the whole image, downwards,
    and multiply each rank by a random number, so that no measure of similarity comes before the
    others. OpenCV sorts the other way round, from the initial segments upwards; its order is
    turned here. Of a box that several hierarchies have it keeps the least rank, so that boxes
    which all of them share, such as the whole image, come late. The random numbers are those of
    the C library, seeded anew for each image, so that an image has the same proposals wherever it
    stands in a dataset.

    Args:
        image: (H, W, 3) uint8 RGB.
        seed: of the random factors.
        pixels: `bytes`, or `floats` in [-1, 1], in which OpenCV finds fewer regions.

    Returns:
        (n, 4) int64 xyxy in pixels, right and bottom exclusive; n is at least 1.

    Raises:
        InputError: OpenCV was built without it.
    """
    search = ximgproc().segmentation.createSelectiveSearchSegmentation()
    if pixels == "floats":
        search.setBaseImage(((image / 255 - 0.5) / 0.5).astype(np.float32))
    else:
        search.setBaseImage(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    search.switchToSelectiveSearchFast()
    ctypes.CDLL(None).srand(seed + 1)  # glibc takes 0 for 1
    xywh = np.asarray(search.process(), dtype=np.int64).reshape(-1, 4)[::-1]
    return np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), axis=1)
