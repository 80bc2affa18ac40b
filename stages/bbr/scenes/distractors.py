"""Clutter: blobs, patches and strokes that look like pieces of objects but are none."""

from __future__ import annotations

import numpy as np

from .palette import jittered, random_name
from .photos import random_photograph
from .pixels import lay_over, ramp
from .raster import fill, stroke, to_fixed
from .shapes import blob, ellipse, polygon, rectangle
from .textures import TEXTURES, pattern

_TEXTURE_NAMES = tuple(TEXTURES)
_MIN_RADIUS, _MAX_RADIUS = 0.03, 0.2  # fractions of the image's side
_STROKES, _PHOTOS = 0.3, 0.2  # shares of outlines, and of surfaces from photographs


def draw_distractor(image: np.ndarray, rng: np.random.Generator) -> None:
    """Draw one distractor on `image`, (size, size, 3) float32, in place.

    It has an object's colours and textures, and none of its structure: no parts that belong
    together, no shading, no shadow.
    """
    side = len(image)
    radius = rng.uniform(_MIN_RADIUS, _MAX_RADIUS) * side
    centre = rng.uniform(0, side, 2)
    low = np.maximum(centre - 1.8 * radius - 2, 0).astype(int)
    high = (centre + 1.8 * radius + 3).astype(int)
    window = image[low[1] : high[1], low[0] : high[0]]
    outline = to_fixed(_outline(rng) * radius + (centre - low))
    cover = np.zeros(window.shape[:2], np.uint8)
    if rng.random() < _STROKES:
        stroke(cover, outline, closed=rng.random() < 0.5, thickness=max(1, side // 48))
    else:
        fill(cover, outline)
    alpha = cover * np.float32(rng.uniform(0.6, 1.0) / 255)
    lay_over(window, _surface(window.shape[:2], radius, rng), alpha)


def _outline(rng: np.random.Generator) -> np.ndarray:
    """An outline of about unit radius."""
    kind = rng.integers(4)
    if kind == 0:
        return blob(rng)
    if kind == 1:
        shape = ellipse(0, 0, 1, rng.uniform(0.3, 1))
    elif kind == 2:
        shape = rectangle(-1, -rng.uniform(0.2, 1), 1, rng.uniform(0.2, 1))
    else:
        shape = polygon(*rng.uniform(-1.2, 1.2, (int(rng.integers(3, 6)), 2)))
    turn = rng.uniform(0, np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    return shape @ np.array([[cos, sin], [-sin, cos]], np.float32)


def _surface(shape: tuple[int, int], radius: float, rng: np.random.Generator) -> np.ndarray:
    """What a distractor is painted with: (*shape, 3), or (3,) where it is plain."""
    if rng.random() < _PHOTOS:
        return random_photograph(*shape, rng)
    first = jittered(random_name(rng), rng)
    texture = _TEXTURE_NAMES[rng.integers(len(_TEXTURE_NAMES))]
    if texture == "plain":
        return first
    y, x = (np.arange(n, dtype=np.float32) / np.float32(radius) for n in shape)
    field = pattern(texture, x[None], y[:, None], 1 / radius, rng)
    return ramp(field, first, jittered(random_name(rng), rng))
