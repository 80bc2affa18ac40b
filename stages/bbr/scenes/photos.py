"""The photographs inside scikit-image's wheel, in random windows. Nothing is downloaded."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from skimage import data

from .palette import jittered, random_name
from .pixels import mean_rgb, ramp

_PHOTOS = (
    "astronaut",
    "chelsea",
    "coffee",
    "hubble_deep_field",
    "immunohistochemistry",
    "retina",
    "rocket",
    "stereo_motorcycle",
    "brick",
    "camera",
    "cell",
    "coins",
    "grass",
    "gravel",
    "moon",
    "page",
    "text",
    "coffee",
    "stereo_motorcycle",
    "stereo_motorcycle",  # the richest ones come more often
)
_SIDES = (512, 256, 128)  # shorter sides of the stored copies, pixels
_MIN_EXTENT, _MAX_EXTENT = 0.3, 1.0  # a window's side over the photograph's shorter side


@functools.cache
def _copies(name: str) -> tuple[np.ndarray, ...]:
    """A photograph at each of _SIDES: (h, w, 3) RGB or (h, w), uint8."""
    photo = getattr(data, name)()
    if name == "stereo_motorcycle":
        photo = photo[0]  # the left view
    elif name == "retina":
        photo = photo[350:1050, 350:1050]  # without its black surround
    photo = np.ascontiguousarray(photo[..., :3] if photo.ndim == 3 else photo)
    factors = [side / min(photo.shape[:2]) for side in _SIDES]
    return tuple(cv2.resize(photo, None, fx=f, fy=f, interpolation=cv2.INTER_AREA) for f in factors)


def _window(
    name: str, height: int, width: int, extent: float, rng: np.random.Generator
) -> np.ndarray:
    """A random window of a photograph, flipped at random: (height, width[, 3]) uint8.

    Its longer side is `extent` of the photograph's shorter side.
    """
    longer = max(height, width)
    sharp = [
        copy
        for copy, side in zip(_copies(name), _SIDES, strict=True)
        if side * extent >= 0.8 * longer
    ]
    photo = sharp[-1] if sharp else _copies(name)[0]
    side = extent * min(photo.shape[:2])
    rows, columns = (max(2, int(side * length / longer)) for length in (height, width))
    y, x = rng.integers(photo.shape[0] - rows + 1), rng.integers(photo.shape[1] - columns + 1)
    window = cv2.resize(photo[y : y + rows, x : x + columns], (width, height))
    # -1, 0 and 1 flip both axes, the vertical and the horizontal one.
    flip = int(rng.integers(-1, 3))
    return window if flip == 2 else cv2.flip(window, flip)


def photo_field(
    name: str, height: int, width: int, extent: float, rng: np.random.Generator
) -> np.ndarray:
    """The brightness of a random window, stretched over [0, 1]: (height, width) float32."""
    window = _window(name, height, width, extent, rng)
    gray = cv2.cvtColor(window, cv2.COLOR_RGB2GRAY) if window.ndim == 3 else window
    mean, deviation = (float(v[0, 0]) for v in cv2.meanStdDev(gray))
    return np.clip(0.5 + (gray.astype(np.float32) - mean) / (4 * deviation + 4), 0, 1)


def random_photograph(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A window of any photograph, its colours jittered: (height, width, 3) float32 RGB.

    Gray ones, and some of the others, become ramps between two colours of the palette.
    """
    name = _PHOTOS[rng.integers(len(_PHOTOS))]
    extent = rng.uniform(_MIN_EXTENT, _MAX_EXTENT)
    if _copies(name)[0].ndim == 2 or rng.random() < 0.15:
        field = photo_field(name, height, width, extent, rng)
        return ramp(field, jittered(random_name(rng), rng), jittered(random_name(rng), rng))
    window = _window(name, height, width, extent, rng)
    if rng.random() < 0.3:
        window = window[..., rng.permutation(3)]
    image = window.astype(np.float32)
    mean = mean_rgb(image)
    level = np.clip(mean + rng.normal(0, 25, 3), 50, 205).astype(np.float32)
    # One gain for all channels, since a gain for each would tint shadows.
    gain = np.float32(rng.uniform(0.7, 1.2))
    image *= gain
    image += level - gain * mean
    return image
