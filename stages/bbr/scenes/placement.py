"""Where objects go: inside the image, apart, overlapping or cut off by the border."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .objects import Specimen, draw_specimen
from .presets import SceneStyle

_ATTEMPTS = 16
_SOLID = 128  # coverage, of 255, from which a pixel belongs to the object
_MAX_CUT = 0.35  # most of an object's width or height that the image's border cuts off


@dataclass(frozen=True)
class Placed:
    """A specimen and the image pixel (x, y) on which its canvas's first pixel falls."""

    specimen: Specimen
    corner: tuple[int, int]

    def windows(self, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where image and canvas meet: (rows, columns) of an image of side `size`, and of the
        canvas."""
        image, canvas = [], []
        for start, length in zip(self.corner[::-1], self.specimen.alpha.shape, strict=True):
            first, last = max(start, 0), min(start + length, size)
            image.append(slice(first, max(first, last)))
            canvas.append(slice(first - start, max(first, last) - start))
        return (image[0], image[1]), (canvas[0], canvas[1])

    @property
    def pixels(self) -> int:
        """How many pixels the complete object has."""
        return int(np.count_nonzero(self.specimen.alpha >= _SOLID))

    def centre(self) -> np.ndarray:
        """The canvas's centre in the image, (x, y)."""
        return np.add(self.corner, np.array(self.specimen.alpha.shape[::-1]) / 2)


def arrange(style: SceneStyle, rng: np.random.Generator) -> tuple[list[Placed], np.ndarray]:
    """Draw a scene's objects and put them in place, back to front.

    An object that finds no place in a few attempts is left out.

    Returns:
        the objects, and the owner map: (size, size) uint8 that holds at each pixel the number,
        from 1, of the object seen there, or 0 for the background.
    """
    owner = np.zeros((style.size, style.size), np.uint8)
    if not style.count_weights:
        return [], owner
    weights = np.cumsum(style.count_weights)
    count = 1 + int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))
    placed: list[Placed] = []
    for _ in range(count):
        specimen = draw_specimen(style, rng)
        for _ in range(_ATTEMPTS):
            overlap = bool(placed) and rng.random() < style.occlusion
            corner = _beside(specimen, placed, rng) if overlap else _anywhere(specimen, style, rng)
            candidate = Placed(specimen, corner)
            trial = _with_object(owner, candidate, len(placed) + 1, overlap)
            if trial is not None and _all_visible(trial, [*placed, candidate], style.min_visible):
                owner = trial
                placed.append(candidate)
                break
    return placed, owner


def _anywhere(specimen: Specimen, style: SceneStyle, rng: np.random.Generator) -> tuple[int, int]:
    """A random corner with the object inside the image, or at times cut off by one border."""
    padding = specimen.padding
    height, width = (length - 2 * padding for length in specimen.alpha.shape)
    x, y = rng.random() * (style.size - width), rng.random() * (style.size - height)
    if rng.random() < style.truncation:
        cut = rng.uniform(0.08, _MAX_CUT)
        side = rng.integers(4)
        if side < 2:
            x = -cut * width if side == 0 else style.size - (1 - cut) * width
        else:
            y = -cut * height if side == 2 else style.size - (1 - cut) * height
    return int(x) - padding, int(y) - padding


def _beside(specimen: Specimen, placed: list[Placed], rng: np.random.Generator) -> tuple[int, int]:
    """A random corner such that the object about touches or covers part of an earlier one."""
    other = placed[rng.integers(len(placed))]
    own = np.array(specimen.alpha.shape[::-1]) / 2
    reach = (
        own
        - specimen.padding
        + np.array(other.specimen.alpha.shape[::-1]) / 2
        - other.specimen.padding
    )
    angle = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(angle), np.sin(angle)])
    direction /= np.abs(direction).max()  # onto the border of the box in which the two touch
    x, y = other.centre() + direction * reach * rng.uniform(0.55, 1.05) - own
    return int(x), int(y)


def _with_object(
    owner: np.ndarray, candidate: Placed, number: int, overlap: bool
) -> np.ndarray | None:
    """The owner map with one more object on top; None if it overlaps and may not."""
    window, canvas = candidate.windows(len(owner))
    solid = candidate.specimen.alpha[canvas] >= _SOLID
    if not overlap and np.any(owner[window][solid]):
        return None
    result = owner.copy()
    result[window][solid] = number
    return result


def _all_visible(owner: np.ndarray, placed: list[Placed], least: float) -> bool:
    seen = np.bincount(owner.ravel(), minlength=len(placed) + 1)[1:]
    return all(n >= least * p.pixels for n, p in zip(seen, placed, strict=True))
