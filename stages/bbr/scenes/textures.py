"""Surface patterns and the noise they and the backgrounds are made of."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from .photos import photo_field

# Pattern -> the adjective a phrase uses for it; a plain surface goes without.
TEXTURES: dict[str, str] = {
    "plain": "",
    "stripes": "striped",
    "dots": "dotted",
    "checks": "checkered",
    "wood": "wooden",
    "speckles": "speckled",
    "brick": "brick",
}
_NOISE_SIDE = 256


@functools.cache
def _noise_field() -> np.ndarray:
    """Fractal noise in [0, 1] with a standard deviation of 0.2, (256, 256) float32."""
    rng = np.random.default_rng(20)
    side = (_NOISE_SIDE, _NOISE_SIDE)
    total = np.zeros(side, np.float32)
    for octave in range(2, 9):
        grid = rng.standard_normal((2**octave, 2**octave), np.float32)
        total += cv2.resize(grid, side, interpolation=cv2.INTER_CUBIC) * 0.62**octave
    return np.clip(0.5 + 0.2 * (total - total.mean()) / total.std(), 0, 1)


def fractal_noise(height: int, width: int, detail: float, rng: np.random.Generator) -> np.ndarray:
    """A random window of fractal noise, (height, width) float32 in [0, 1].

    `detail` in (0, 1] is how much of the stored field is shown: more is busier.
    """
    side = max(8, int(detail * _NOISE_SIDE))
    y, x = rng.integers(0, _NOISE_SIDE - side + 1, 2)
    window = _noise_field()[y : y + side, x : x + side]
    return cv2.resize(window.T if rng.random() < 0.5 else window, (width, height))


@functools.cache
def _white_noise(side: int) -> np.ndarray:
    noise = np.random.default_rng(21).standard_normal((2 * side, 2 * side), np.float32)
    return np.clip(noise, -3, 3)


def grain(side: int, rng: np.random.Generator) -> np.ndarray:
    """A camera's noise, (side, side) float32, standard normal cut at three deviations."""
    y, x = rng.integers(0, side + 1, 2)
    return _white_noise(side)[y : y + side, x : x + side]


def pattern(
    kind: str, x: np.ndarray, y: np.ndarray, pixel: float, rng: np.random.Generator
) -> np.ndarray:
    """How much of the second colour shows, (h, w) float32 in [0, 1].

    Args:
        kind: a key of TEXTURES, not "plain".
        x, y: float32, object units; (h, w) each, or an open grid of (1, w) and (h, 1).
        pixel: a pixel's width in object units; no pattern is finer than about four pixels.
    """
    height, width = y.shape[0], x.shape[1]
    if kind == "brick":
        return photo_field("brick", height, width, rng.uniform(0.35, 0.6), rng)
    if kind == "speckles":
        noise = fractal_noise(height, width, rng.uniform(0.4, 0.8), rng)
        return _soft_step((noise - 0.5) * 9)
    period = max(rng.uniform(0.3, 0.6), 4.5 * pixel)
    wave = np.float32(2 * np.pi / period)
    turn = rng.uniform(0, np.pi)
    u = (np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y) * wave
    if kind == "stripes":
        return _soft_step(np.sin(u) * 3)
    if kind == "wood":
        knots = fractal_noise(height, width, 0.25, rng)
        return 0.5 + 0.5 * np.sin(u + 9 * knots)
    v = (np.float32(np.cos(turn)) * y - np.float32(np.sin(turn)) * x) * wave
    if kind == "checks":
        return _soft_step(np.sin(u) * np.sin(v) * 5)
    return _soft_step((np.sin(u) + np.sin(v) - 0.9) * 4)


def _soft_step(field: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(0.5 + field, 0), 1)
