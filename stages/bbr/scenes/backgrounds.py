"""Cluttered backgrounds: photographs, patterns, noise, and distractors in the objects' colours."""

from __future__ import annotations

import cv2
import numpy as np

from .distractors import draw_distractor
from .palette import jittered, random_name
from .photos import random_photograph
from .pixels import lay_over, ramp
from .presets import SceneStyle
from .textures import TEXTURES, fractal_noise, pattern

_PATTERNS = tuple(name for name in TEXTURES if name != "plain")


def draw_background(style: SceneStyle, rng: np.random.Generator) -> np.ndarray:
    """A background without objects, (size, size, 3) float32 RGB in 0..255."""
    side = style.size
    image = _place(style, rng)
    if rng.random() < style.split:  # two places side by side, along a ragged border
        border = np.clip((fractal_noise(side, side, 0.25, rng) - 0.5) * 12 + 0.5, 0, 1)
        lay_over(image, _place(style, rng), border)
    veil = fractal_noise(side, side, rng.uniform(0.2, 1.0), rng)
    image += np.float32(rng.uniform(0, 2 * style.noise)) * (_in_two_colours(veil, rng) - image)
    for _ in range(rng.poisson(style.clutter)):
        draw_distractor(image, rng)
    return _blurred(image, rng.uniform(0, style.blur) * side / 128)


def _place(style: SceneStyle, rng: np.random.Generator) -> np.ndarray:
    """A photograph, or a wall in one of the objects' patterns: (size, size, 3) float32."""
    side = style.size
    if rng.random() >= style.walls:
        return random_photograph(side, side, rng)
    name = _PATTERNS[rng.integers(len(_PATTERNS))]
    pixel = rng.uniform(1.6, 6) / side
    row = np.arange(side, dtype=np.float32) * np.float32(pixel)
    return _in_two_colours(pattern(name, row[None], row[:, None], pixel, rng), rng)


def _in_two_colours(field: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return ramp(field, jittered(random_name(rng), rng), jittered(random_name(rng), rng))


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.3 else image
