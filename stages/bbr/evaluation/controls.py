"""Random and Center, the controls of phrase grounding: they look neither at image nor at phrase."""

from __future__ import annotations

import numpy as np

from .phrase_metrics import Target, Unit

CONTROLS = ("random", "center")
_CENTER_FRACTION = 0.7  # of each side, as the control of single object discovery


def control_points(
    targets: list[Target], control: str, seed: int = 0
) -> dict[Unit, tuple[float, float]]:
    """`random`: a point drawn uniformly over the image; `center`: the image's centre."""
    rng = np.random.default_rng(seed)
    points = {}
    for target in targets:
        x, y = rng.random(2) if control == "random" else (0.5, 0.5)
        height, width = target.image_size
        points[target.unit] = (float(x * width), float(y * height))
    return points


def control_unions(targets: list[Target], control: str, seed: int = 0) -> dict[Unit, np.ndarray]:
    """`random`: the box between two points drawn uniformly over the image; `center`: the box of 0.7
    of each side in the middle, the control of single object discovery."""
    rng = np.random.default_rng(seed)
    margin = (1 - _CENTER_FRACTION) / 2
    unions = {}
    for target in targets:
        corners = np.array([[margin, margin], [1 - margin, 1 - margin]])
        if control == "random":
            corners = np.sort(rng.random((2, 2)), axis=0)
        height, width = target.image_size
        unions[target.unit] = (corners * (width, height)).ravel()
    return unions
