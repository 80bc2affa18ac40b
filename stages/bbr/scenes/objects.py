"""One object: its geometry, then its paint."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .categories import CATEGORIES
from .palette import contrasting_name, jittered, nearest_name, random_name
from .pixels import in_rgb, lay_over, ramp
from .presets import SceneStyle
from .raster import bounds, fill, to_fixed
from .shapes import Part
from .textures import TEXTURES, pattern

_TEXTURE_NAMES = tuple(TEXTURES)
_CATEGORY_NAMES = tuple(CATEGORIES)


@dataclass
class Specimen:
    """An object that has a shape and a size, but no place and no paint yet.

    Attributes:
        category: a key of CATEGORIES.
        parts: in painting order.
        outlines: of each part on the object's canvas, (n, 2) int32, fixed point (see raster).
        alpha: (h, w) uint8 coverage of the whole object on its canvas.
        padding: empty pixels around the object on its canvas.
        x, y: (h, w) float32, the canvas's pixels in object units.
        pixel: a pixel's width in object units.
        turn: (2, 2) float32 rotation and flip from object units to the image's directions.
    """

    category: str
    parts: list[Part]
    outlines: list[np.ndarray]
    alpha: np.ndarray
    padding: int
    x: np.ndarray
    y: np.ndarray
    pixel: float
    turn: np.ndarray


def draw_specimen(style: SceneStyle, rng: np.random.Generator) -> Specimen:
    """Draw an object's category, shape, tilt and size."""
    name = _CATEGORY_NAMES[rng.integers(len(_CATEGORY_NAMES))]
    category = CATEGORIES[name]
    parts = category.build(rng)
    turn = _random_turn(category.max_tilt, rng)
    points = np.concatenate([part.outline for part in parts]) @ turn.T
    low, high = points.min(0), points.max(0)
    scale = _scale(high - low, style, rng)
    padding = int(0.09 * scale * (high - low).max()) + 3  # room for the shadow
    margin = padding + 1  # OpenCV's anti-aliased outlines reach up to a pixel too far
    offset = margin - low * scale
    width, height = np.ceil((high - low) * scale).astype(int) + 2 * margin
    outlines = [to_fixed(part.outline @ turn.T * scale + offset) for part in parts]
    alpha = np.zeros((height, width), np.uint8)
    for outline in outlines:
        fill(alpha, outline)
    dx = (np.arange(width, dtype=np.float32) + 0.5 - offset[0]) / scale
    dy = (np.arange(height, dtype=np.float32)[:, None] + 0.5 - offset[1]) / scale
    x, y = turn[0, 0] * dx + turn[1, 0] * dy, turn[0, 1] * dx + turn[1, 1] * dy
    return Specimen(name, parts, outlines, alpha, padding, x, y, 1 / float(scale), turn)


def _random_turn(max_tilt: float, rng: np.random.Generator) -> np.ndarray:
    """A rotation of at most `max_tilt` degrees, mirrored half of the time: (2, 2) float32."""
    angle = np.radians(rng.triangular(-max_tilt, 0, max_tilt))
    mirror = 1 if rng.random() < 0.5 else -1
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos * mirror, -sin], [sin * mirror, cos]], np.float32)


def _scale(extent: np.ndarray, style: SceneStyle, rng: np.random.Generator) -> np.float32:
    """Pixels per object unit such that a box of `extent` units has an area of the style."""
    area = style.min_area + (style.max_area - style.min_area) * rng.random() ** style.small_bias
    scale = style.size * np.sqrt(area / extent.prod())
    return np.float32(min(scale, style.max_side * style.size / extent.max()))


@dataclass(frozen=True)
class Paint:
    """An object's colours and surface, by name and as RGB (3,) float32 in 0..255."""

    colour: str
    accent: str
    texture: str
    body_rgb: np.ndarray
    second_rgb: np.ndarray
    accent_rgb: np.ndarray
    dark_rgb: np.ndarray
    light_rgb: np.ndarray


def draw_paint(scenery: np.ndarray, camouflage: float, rng: np.random.Generator) -> Paint:
    """Choose colours and texture; with probability `camouflage` that of `scenery`, (3,) RGB."""
    colour = nearest_name(scenery) if rng.random() < camouflage else random_name(rng)
    accent = contrasting_name(colour, rng)
    body = jittered(colour, rng)
    # The second colour of a pattern is a shade of the first, so that one word names the object.
    second = body * np.float32(0.5) if body.mean() > 75 else body * np.float32(1.4) + 25
    return Paint(
        colour=colour,
        accent=accent,
        texture=_TEXTURE_NAMES[rng.integers(len(_TEXTURE_NAMES))],
        body_rgb=body,
        second_rgb=second,
        accent_rgb=jittered(accent, rng),
        dark_rgb=rng.uniform(25, 60, 3).astype(np.float32),
        light_rgb=rng.uniform(190, 240, 3).astype(np.float32),
    )


def paint_specimen(
    specimen: Specimen, paint: Paint, light: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The object's colours on its canvas, (h, w, 3) float32 in 0..255; valid where alpha is > 0.

    `light` is the unit direction towards the light in the image, (2,) float32.
    """
    surfaces = _surfaces(specimen, paint, rng)
    local_light = specimen.turn.T @ light
    image = np.empty((*specimen.alpha.shape, 3), np.float32)
    image[:] = paint.body_rgb
    for part, outline in zip(specimen.parts, specimen.outlines, strict=True):
        window = bounds(outline, specimen.alpha.shape)
        view = image[window]
        cover = np.zeros(view.shape[:2], np.uint8)
        fill(cover, outline - to_fixed(np.array([window[1].start, window[0].start]) + 0.5))
        shade = _shade(part, specimen.x[window], specimen.y[window], local_light)
        surface = surfaces[part.material]
        surface = surface[window] if surface.ndim == 3 else surface
        lay_over(view, in_rgb(shade) * surface, cover * np.float32(1 / 255))
    return image * in_rgb(_rim(specimen.alpha))


def _surfaces(specimen: Specimen, paint: Paint, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Each material's colour: (h, w, 3), or (3,) where it is plain."""
    body = paint.body_rgb
    if paint.texture != "plain":
        field = pattern(paint.texture, specimen.x, specimen.y, specimen.pixel, rng)
        body = ramp(field, body, paint.second_rgb)
    return {
        "body": body,
        "accent": paint.accent_rgb,
        "dark": paint.dark_rgb,
        "light": paint.light_rgb,
    }


def _shade(part: Part, x: np.ndarray, y: np.ndarray, light: np.ndarray) -> np.ndarray:
    """How bright a part's pixels are, (h, w) float32 near 1; `light` in the object's frame."""
    low, high = part.outline.min(0), part.outline.max(0)
    centre, radius = (low + high) / 2, (high - low) / 2
    u, v = (x - centre[0]) / radius[0], (y - centre[1]) / radius[1]
    if part.relief == "flat":
        shade = 1 + 0.14 * (u * light[0] + v * light[1])
    elif part.relief == "barrel":
        shade = 1.12 - 0.36 * np.square(u - 0.5 * light[0])
    else:
        shade = 1.15 - 0.3 * (np.square(u - 0.45 * light[0]) + np.square(v - 0.45 * light[1]))
    return np.maximum(shade, 0.35) * np.float32(part.tone)


def _rim(alpha: np.ndarray) -> np.ndarray:
    """Darkening towards the silhouette's border, (h, w) float32 in [0.55, 1]."""
    sigma = 0.012 * max(alpha.shape) + 0.5
    inside = cv2.GaussianBlur(alpha, (0, 0), sigma).astype(np.float32) * np.float32(1 / 255)
    return 0.55 + 0.45 * np.clip(inside * 2.2 - 1.1, 0, 1)


def shadow(alpha: np.ndarray, light: np.ndarray) -> np.ndarray:
    """The soft shadow an object throws on what is behind it, (h, w) float32 darkening in [0, 1]."""
    reach = 0.03 * max(alpha.shape)
    shift = np.array([[1, 0, -light[0] * reach], [0, 1, -light[1] * reach]], dtype=np.float32)
    moved = cv2.warpAffine(alpha, shift, (alpha.shape[1], alpha.shape[0]))
    blurred = cv2.GaussianBlur(moved, (0, 0), 0.4 * reach + 0.5)
    return blurred.astype(np.float32) * np.float32(0.5 / 255)
