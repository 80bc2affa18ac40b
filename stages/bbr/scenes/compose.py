"""A whole scene: background, objects in their places, boxes and phrases."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

from .backgrounds import draw_background
from .captions import Mention, caption_scene, mention_objects
from .objects import Paint, draw_paint, paint_specimen, shadow
from .phrases import Traits
from .pixels import in_rgb, lay_over
from .placement import Placed, arrange
from .presets import SceneStyle
from .textures import TEXTURES, grain

_ACCENTS_SHOW = 0.9  # visible fraction above which an object's accent parts are surely seen


@dataclass(frozen=True)
class SceneObject:
    """Ground truth of one object.

    Attributes:
        category: its name, a key of CATEGORIES.
        bbox_xywh: the tightest box of its visible pixels, whole pixels inside the image.
        visible_fraction: visible pixels over all its pixels, off-image ones included.
        mask: (size, size) bool, its visible pixels.
    """

    category: str
    bbox_xywh: tuple[int, int, int, int]
    visible_fraction: float
    mask: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Scene:
    """An image and what is known of it.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        objects: from back to front.
        mentions: phrases, and the objects that each refers to.
        captions: of the whole image, where the style has them.
    """

    image: np.ndarray
    objects: list[SceneObject]
    mentions: list[Mention]
    captions: list[str]


def scene_rng(style: SceneStyle, seed: int, number: int) -> np.random.Generator:
    """The generator of scene `number` of a dataset: no scene depends on another one.

    It knows the style by its name only.
    """
    return np.random.default_rng([seed, zlib.crc32(style.name.encode()), number])


def render_scene(style: SceneStyle, rng: np.random.Generator) -> Scene:
    """Render one scene; the same style and generator state give the same scene."""
    image = draw_background(style, rng)
    placed, owner = arrange(style, rng)
    light = _draw_light(rng)
    paints = [_add_object(image, item, light, style, rng) for item in placed]
    finished = _finish(image, rng)
    objects, traits = _ground_truth(placed, paints, owner)
    # Words come last, so that they change nothing of the image.
    mentions = mention_objects(traits, style.phrases, rng)
    return Scene(finished, objects, mentions, caption_scene(traits, style.phrases, rng))


def _draw_light(rng: np.random.Generator) -> np.ndarray:
    """The unit direction towards the light, (2,) float32: from above, left or right."""
    angle = np.radians(rng.uniform(-160, -20))
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


def _add_object(
    image: np.ndarray,
    placed: Placed,
    light: np.ndarray,
    style: SceneStyle,
    rng: np.random.Generator,
) -> Paint:
    """Paint an object and its shadow over `image`, in place."""
    specimen = placed.specimen
    window, canvas = placed.windows(style.size)
    view = image[window]
    x, y = rng.integers(style.size, size=2)
    paint = draw_paint(image[y, x], style.camouflage, rng)
    view *= in_rgb(1 - shadow(specimen.alpha, light)[canvas])
    colours = paint_specimen(specimen, paint, light, rng)[canvas]
    lay_over(view, colours, specimen.alpha[canvas] * np.float32(1 / 255))
    return paint


def _finish(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A camera's exposure and grain: (size, size, 3) float32 to uint8."""
    noise = in_rgb(grain(len(image), rng) * np.float32(rng.uniform(1, 5)))
    return np.clip(image * np.float32(rng.uniform(0.82, 1.12)) + noise, 0, 255).astype(np.uint8)


def _ground_truth(
    placed: list[Placed], paints: list[Paint], owner: np.ndarray
) -> tuple[list[SceneObject], list[Traits]]:
    masks = [owner == number for number in range(1, len(placed) + 1)]
    boxes = [_tight_box(mask) for mask in masks]
    visible = [np.count_nonzero(m) / p.pixels for m, p in zip(masks, placed, strict=True)]
    traits = [
        Traits(
            category=item.specimen.category,
            colour=paint.colour,
            texture=TEXTURES[paint.texture],
            accent=paint.accent if fraction > _ACCENTS_SHOW else "",
            centre=((x + w / 2) / len(owner), (y + h / 2) / len(owner)),
            area=w * h / owner.size,
        )
        for item, paint, fraction, (x, y, w, h) in zip(placed, paints, visible, boxes, strict=True)
    ]
    objects = [
        SceneObject(trait.category, box, float(fraction), mask)
        for trait, box, fraction, mask in zip(traits, boxes, visible, masks, strict=True)
    ]
    return objects, traits


def _tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The box (x, y, width, height) of a mask that is not empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y
