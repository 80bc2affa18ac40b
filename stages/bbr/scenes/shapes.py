"""Outlines from which objects and clutter are put together.

An outline is a closed polygon, (n, 2) float32, x to the right and y down, in object units: an
object is about two units across.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Part:
    """One painted piece of an object; later parts lie on top of earlier ones.

    Attributes:
        outline: (n, 2) float32, object units.
        material: "body", "accent" (a contrasting colour), "dark" or "light".
        relief: how light falls on it: "flat", "ball" or "barrel" (an upright cylinder).
        tone: brightness factor, for faces that look away from the light.
    """

    outline: np.ndarray
    material: str = "body"
    relief: str = "flat"
    tone: float = 1.0


def polygon(*points: tuple[float, float]) -> np.ndarray:
    """An outline through the given (x, y) points."""
    return np.array(points, np.float32)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """An axis-parallel rectangle."""
    return polygon((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def arc(
    x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0, n: int = 28
) -> np.ndarray:
    """Points on an ellipse about (x, y) from `start` to `end` degrees, clockwise from +x."""
    return _unit_arc(start, end, n) * np.array((rx, ry), np.float32) + np.array((x, y), np.float32)


@functools.cache
def _unit_arc(start: float, end: float, n: int) -> np.ndarray:
    angle = np.radians(np.linspace(start, end, n, endpoint=end - start < 360))
    return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)


def ellipse(x: float, y: float, rx: float, ry: float | None = None) -> np.ndarray:
    """An ellipse about (x, y); a circle without `ry`."""
    return arc(x, y, rx, rx if ry is None else ry)


def band(
    x: float, y: float, rx: float, ry: float, width: float, start: float, end: float
) -> np.ndarray:
    """A bent strip between two elliptic arcs, such as a handle."""
    outer = arc(x, y, rx, ry, start, end)
    return np.concatenate([outer, arc(x, y, rx - width, ry - width, start, end)[::-1]])


def rounded(x0: float, y0: float, x1: float, y1: float, radius: float) -> np.ndarray:
    """A rectangle with round corners."""
    corners = (
        (x1 - radius, y1 - radius, 0.0),
        (x0 + radius, y1 - radius, 90.0),
        (x0 + radius, y0 + radius, 180.0),
        (x1 - radius, y0 + radius, 270.0),
    )
    return np.concatenate([arc(x, y, radius, radius, a, a + 90, 6) for x, y, a in corners])


def spiked(points: int, inner: float, phase: float = -90.0) -> np.ndarray:
    """A star with `points` tips at radius 1 and notches at radius `inner`."""
    angle = np.radians(phase + np.arange(2 * points) * 180.0 / points)
    radius = np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32)


def blob(rng: np.random.Generator, roughness: float = 0.3, n: int = 24) -> np.ndarray:
    """A smooth random outline of about unit radius."""
    circle = _unit_arc(0.0, 360.0, n)
    angle = np.arange(n, dtype=np.float32) * np.float32(2 * np.pi / n)
    radius = np.ones(n, np.float32)
    for frequency, (size, phase) in enumerate(rng.random((3, 2)), 2):
        radius += np.float32(roughness * size) * np.cos(
            frequency * angle + np.float32(6.28 * phase)
        )
    return circle * radius[:, None]
