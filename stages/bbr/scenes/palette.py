"""The named colours that objects, clutter and tinted backgrounds all share."""

from __future__ import annotations

import numpy as np

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (200, 45, 40),
    "orange": (235, 130, 35),
    "yellow": (235, 205, 60),
    "green": (70, 150, 60),
    "blue": (50, 95, 195),
    "purple": (125, 65, 165),
    "pink": (232, 130, 175),
    "brown": (125, 80, 45),
    "white": (235, 232, 225),
    "gray": (130, 130, 130),
    "black": (48, 45, 48),
}
NAMES = tuple(PALETTE)
_RGB = np.array(list(PALETTE.values()), np.float32)
_MIN_CONTRAST = 110.0  # RGB distance at which two parts of an object read as two colours


def jittered(name: str, rng: np.random.Generator) -> np.ndarray:
    """A shade of the colour called `name`, still recognisable: (3,) float32 RGB in 0..255."""
    gain, *shift = rng.random(4)
    shade = (_RGB[NAMES.index(name)] + 24 * np.array(shift) - 12) * (0.88 + 0.2 * gain)
    return np.minimum(np.maximum(shade, 0), 255).astype(np.float32)


def random_name(rng: np.random.Generator) -> str:
    """Any colour's name."""
    return NAMES[rng.integers(len(NAMES))]


def nearest_name(rgb: np.ndarray) -> str:
    """The name of the colour nearest to `rgb`, (3,) in 0..255."""
    return NAMES[int(np.square(_RGB - rgb).sum(1).argmin())]


def contrasting_name(name: str, rng: np.random.Generator) -> str:
    """A colour that is clearly not `name`."""
    distance = np.linalg.norm(_RGB - _RGB[NAMES.index(name)], axis=1)
    far = np.flatnonzero(distance > _MIN_CONTRAST)
    return NAMES[far[rng.integers(len(far))]]
