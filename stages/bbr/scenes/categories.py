"""The object categories: each a function that draws one random specimen as a list of parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .shapes import Part, arc, band, ellipse, polygon, rectangle, rounded, spiked


@dataclass(frozen=True)
class Category:
    """A kind of object.

    Attributes:
        build: draws a specimen's parts.
        accent: what a phrase calls its accent parts.
        max_tilt: largest rotation from upright, degrees.
    """

    build: Callable[[np.random.Generator], list[Part]]
    accent: str
    max_tilt: float


def _disc(rng: np.random.Generator) -> list[Part]:
    hub = rng.uniform(0.3, 0.42)
    return [
        Part(ellipse(0, 0, 1), relief="ball"),
        Part(ellipse(0, 0, hub + 0.1), "dark"),
        Part(ellipse(0, 0, hub), "accent", "ball"),
    ]


def _cube(rng: np.random.Generator) -> list[Part]:
    depth, rise = rng.uniform(0.4, 0.7), rng.uniform(0.35, 0.5)
    x = 1 - depth
    top = polygon((-1, -1 + rise), (-1 + depth, -1), (1, -1), (x, -1 + rise))
    side = polygon((x, -1 + rise), (1, -1), (1, 1 - rise), (x, 1))
    inset = rng.uniform(0.22, 0.32)
    return [
        Part(rectangle(-1, -1 + rise, x, 1)),
        Part(top, "accent", tone=1.15),
        Part(side, tone=0.62),
        Part(rectangle(-1 + inset, -1 + rise + inset, x - inset, 1 - inset), "light", tone=0.9),
    ]


def _cross(rng: np.random.Generator) -> list[Part]:
    arm = rng.uniform(0.26, 0.38)
    core = arm * rng.uniform(1.25, 1.5)
    return [
        Part(rounded(-1, -arm, 1, arm, 0.1)),
        Part(rounded(-arm, -1, arm, 1, 0.1)),
        Part(ellipse(0, 0, core), "accent", "ball"),
    ]


def _star(rng: np.random.Generator) -> list[Part]:
    points, inner = 5, rng.uniform(0.42, 0.52)
    outline = spiked(points, inner)
    centre = np.zeros((1, 2), np.float32)
    # Each tip is a folded facet: one half in the light, one in the shade.
    halves = [
        Part(
            np.concatenate([centre, outline[[i, (i + 1) % len(outline)]]]),
            tone=0.72 + 0.34 * (i % 2),
        )
        for i in range(len(outline))
    ]
    return [Part(outline), *halves, Part(ellipse(0, 0, inner * 0.62), "accent", "ball")]


def _mug(rng: np.random.Generator) -> list[Part]:
    taper, height = rng.uniform(0.0, 0.12), rng.uniform(0.8, 1.0)
    right, lip = 0.55, 0.17
    body = np.concatenate(
        [
            polygon((-1, -height + lip), (right, -height + lip)),
            arc((right - 1) / 2, height - lip, (right + 1) / 2 - taper, lip, 0, 180, 14),
        ]
    )
    middle = (right - 1) / 2
    level = rng.uniform(-0.1, 0.25)
    stripe = polygon(
        (-1 + taper / 2, level),
        (right - taper / 2, level),
        (right - taper / 2, level + 0.32),
        (-1 + taper / 2, level + 0.32),
    )
    return [
        Part(band(right - 0.1, 0.0, 0.6, 0.58, 0.2, -85, 85), "accent", tone=0.9),
        Part(body, relief="barrel"),
        Part(stripe, "accent", "barrel"),
        Part(ellipse(middle, -height + lip, (right + 1) / 2, lip), "light"),
        Part(ellipse(middle, -height + lip + 0.03, (right + 1) / 2 - 0.1, lip - 0.06), "dark"),
    ]


def _bottle(rng: np.random.Generator) -> list[Part]:
    half, shoulder, neck = (
        rng.uniform(0.34, 0.44),
        rng.uniform(-0.4, -0.15),
        rng.uniform(0.12, 0.17),
    )
    right = polygon((neck, -0.8), (neck, shoulder - 0.22), (half, shoulder + 0.1), (half, 0.92))
    right = np.concatenate([right, polygon((half - 0.08, 1.0))])
    left = right[::-1] * np.array([-1, 1], dtype=np.float32)
    low = rng.uniform(0.5, 0.7)
    return [
        Part(np.concatenate([right, left]), relief="barrel"),
        Part(rectangle(-half, shoulder + 0.3, half, low), "light", "barrel"),
        Part(ellipse(0, (shoulder + 0.3 + low) / 2, half * 0.5), "accent"),
        Part(rounded(-neck - 0.05, -1, neck + 0.05, -0.72, 0.05), "accent", "barrel"),
    ]


def _house(rng: np.random.Generator) -> list[Part]:
    eaves, wall = rng.uniform(-0.2, 0.05), rng.uniform(0.72, 0.85)
    ridge = rng.uniform(0.0, 0.35)
    door = rng.uniform(-0.5, -0.1)
    roof = polygon((-1, eaves), (-ridge - 0.08, -1), (ridge + 0.08, -1), (1, eaves))
    return [
        Part(rectangle(0.42, -0.95, 0.66, eaves), "body", tone=0.7),
        Part(rectangle(-wall, eaves - 0.1, wall, 1)),
        Part(roof, "accent"),
        Part(rectangle(door - 0.17, 0.4, door + 0.17, 1), "dark"),
        Part(rectangle(0.25, eaves + 0.25, 0.65, eaves + 0.62), "light"),
        Part(rectangle(0.42, eaves + 0.25, 0.48, eaves + 0.62), "dark"),
    ]


def _tree(rng: np.random.Generator) -> list[Part]:
    trunk = rng.uniform(0.1, 0.16)
    parts = [
        Part(
            polygon((-trunk, 0.2), (trunk, 0.2), (trunk * 1.5, 1), (-trunk * 1.5, 1)),
            "accent",
            "barrel",
        )
    ]
    for y, radius in ((0.1, 0.72), (-0.3, 0.56), (-0.66, 0.36)):
        foot = arc(0, y + 0.22, radius, 0.16, 0, 180, 12)
        tier = np.concatenate([foot, polygon((0, y - 0.5 * radius - 0.2))])
        parts.append(Part(tier, "body", "ball", tone=rng.uniform(0.9, 1.1)))
    return parts


def _fish(rng: np.random.Generator) -> list[Part]:
    girth, fork = rng.uniform(0.42, 0.56), rng.uniform(0.4, 0.5)
    return [
        Part(polygon((0.4, 0), (1, -fork), (0.85, 0), (1, fork)), "accent"),
        Part(polygon((-0.35, -girth * 0.7), (0.25, -girth - 0.28), (0.3, -girth * 0.6)), "accent"),
        Part(ellipse(-0.2, 0, 0.8, girth), relief="ball"),
        Part(polygon((-0.15, 0.05), (0.22, 0.3), (0.12, -0.08)), "accent", tone=0.85),
        Part(ellipse(-0.68, -0.12, 0.13), "light"),
        Part(ellipse(-0.7, -0.12, 0.07), "dark"),
    ]


def _car(rng: np.random.Generator) -> list[Part]:
    roof, front = rng.uniform(-0.62, -0.5), rng.uniform(0.5, 0.68)
    wheel = rng.uniform(0.2, 0.25)
    cabin = polygon((-0.72, -0.1), (-0.48, roof), (0.22, roof), (front, -0.1))
    glass = polygon((-0.56, -0.1), (-0.4, roof + 0.12), (0.14, roof + 0.12), (front - 0.18, -0.1))
    parts = [
        Part(cabin, "body", tone=0.9),
        Part(glass, "light"),
        Part(rectangle(-0.16, roof + 0.1, -0.08, -0.1), "body", tone=0.8),
        Part(rounded(-1, -0.14, 1, 0.36, 0.16)),
        Part(rectangle(-0.98, 0.14, 0.98, 0.24), "body", tone=0.6),
        Part(ellipse(0.9, 0.05, 0.08), "light"),
    ]
    for x in (-0.55, 0.55):
        parts += [
            Part(ellipse(x, 0.36, wheel), "dark"),
            Part(ellipse(x, 0.36, wheel * 0.6), "accent"),
        ]
    return parts


def _boat(rng: np.random.Generator) -> list[Part]:
    deck, mast = rng.uniform(0.4, 0.55), rng.uniform(-0.1, 0.1)
    hull = polygon((-1, deck), (1, deck), (0.68, 1), (-0.7, 1))
    return [
        Part(rectangle(mast - 0.04, -1, mast + 0.04, deck), "dark"),
        Part(
            polygon((mast + 0.03, -0.95), (0.85, deck - 0.1), (mast + 0.03, deck - 0.1)), "accent"
        ),
        Part(polygon((mast - 0.03, -0.75), (-0.7, deck - 0.1), (mast - 0.03, deck - 0.1)), "light"),
        Part(hull),
        Part(rectangle(-0.98, deck, 0.98, deck + 0.1), "light", tone=0.85),
    ]


def _mushroom(rng: np.random.Generator) -> list[Part]:
    brim, stem = rng.uniform(-0.05, 0.15), rng.uniform(0.24, 0.34)
    spots = ((-0.5, -0.25, 0.14), (0.05, -0.6, 0.18), (0.52, -0.22, 0.13))
    stalk = polygon((-stem * 0.8, brim), (stem * 0.8, brim), (stem * 1.15, 1), (-stem * 1.15, 1))
    cap = np.concatenate(
        [arc(0, brim, 1, 1 + brim, 180, 360, 22), arc(0, brim, 1, 0.14, 0, 180, 14)]
    )
    return [
        Part(stalk, "light", "barrel"),
        Part(cap, "body", "ball"),
        *(Part(ellipse(x, y + brim * 0.8, r, r * 0.85), "accent") for x, y, r in spots),
    ]


CATEGORIES: dict[str, Category] = {
    "disc": Category(_disc, "hub", 180),
    "cube": Category(_cube, "top", 10),
    "cross": Category(_cross, "center", 45),
    "star": Category(_star, "center", 36),
    "mug": Category(_mug, "handle", 14),
    "bottle": Category(_bottle, "cap", 20),
    "house": Category(_house, "roof", 6),
    "tree": Category(_tree, "trunk", 8),
    "fish": Category(_fish, "fins", 25),
    "car": Category(_car, "wheels", 12),
    "boat": Category(_boat, "sail", 12),
    "mushroom": Category(_mushroom, "spots", 15),
}
CATEGORY_IDS = {name: number for number, name in enumerate(CATEGORIES, 1)}
