"""Masks of objects as annotation files have them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as coco

from bbr.data.readers.masks import read_mask
from bbr.storage.rle import decode_mask


def _pixels(height: int = 7, width: int = 9) -> np.ndarray:
    pixels = np.zeros((height, width), bool)
    pixels[1:3, 2:8] = pixels[3:6, 2:4] = True
    return pixels


def _counts(pixels: np.ndarray) -> list[int]:
    """Run lengths column by column, the first of zeros, as COCO's documentation has them."""
    runs, value = [0], False
    for pixel in pixels.T.flatten():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def test_run_lengths_as_a_list_and_as_a_text() -> None:
    pixels = _pixels()
    text = coco.encode(np.asfortranarray(pixels.astype("uint8")))["counts"].decode()
    for counts in (_counts(pixels), text):
        found = read_mask({"size": [7, 9], "counts": counts}, (7, 9))
        assert found is not None
        assert (decode_mask(found) == pixels).all()


def test_polygons_are_joined() -> None:
    found = read_mask([[0, 0, 4, 0, 4, 2, 0, 2], [5, 3, 8, 3, 8, 6, 5, 6]], (7, 9))
    assert found is not None
    expected = np.zeros((7, 9), bool)
    expected[0:2, 0:4] = expected[3:6, 5:8] = True
    assert (decode_mask(found) == expected).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_as_pillow_turns_the_image(orientation: int) -> None:
    pixels = _pixels()
    image = Image.fromarray(pixels.astype(np.uint8) * 255)
    image.getexif()[0x0112] = orientation
    expected = np.array(ImageOps.exif_transpose(image)) > 0
    found = read_mask({"size": [7, 9], "counts": _counts(pixels)}, (7, 9), orientation)
    assert found is not None
    assert found["size"] == list(expected.shape)
    assert (decode_mask(found) == expected).all()


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[]],
        [[1, 2, 3]],
        [["a", 1, 2, 3, 4, 5]],
        {"size": [7, 9]},
        {"size": [9, 7], "counts": _counts(_pixels())},
        {"size": [7, 9], "counts": [5, 3]},
        {"size": [7, 9], "counts": [-3, 66]},
        {"size": [7, 9], "counts": "no run lengths"},
        {"size": [7, 9], "counts": [63]},
        {"size": None, "counts": [63]},
        [[100, 100, 110, 100, 110, 110]],
        "a",
        7,
    ],
)
def test_what_is_no_mask_of_that_image(segmentation: object) -> None:
    assert read_mask(segmentation, (7, 9)) is None
