"""The statistics of each scenes dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class SceneStyle:
    """What the scenes of one dataset look like, in numbers.

    Attributes:
        name: the preset's name; it also seeds the stream, so two presets never share a scene.
        size: image side, pixels, 32..1024.
        count_weights: relative frequency of 1, 2, 3, ... objects in an image; empty for none.
        min_area, max_area: an object's complete box as a fraction of the image's area.
        small_bias: exponent on the uniform draw between them; above 1 favours small objects.
        max_side: longest side of a complete box, as a fraction of the image's side.
        clutter: mean number of distractors in an image.
        camouflage: probability that an object takes a colour that the scene has already.
        occlusion: probability that an object is put close to an earlier one and may cover it.
        truncation: probability that an object sticks out of the image.
        min_visible: least fraction of an object's pixels that remains visible.
        blur: largest Gaussian sigma of the background, pixels at a side of 128.
        split: probability that the background joins two places.
        walls: probability that a place is a patterned wall and no photograph.
        noise: mean share of fractal noise in the background, 0..0.5.
        phrases: how objects are spoken of, one of `mentions.STYLES`.
    """

    name: str
    size: int = 128
    count_weights: tuple[float, ...] = (0.5, 0.38, 0.12)
    min_area: float = 0.06
    max_area: float = 0.38
    small_bias: float = 1.4
    max_side: float = 0.95
    clutter: float = 2.5
    camouflage: float = 0.5
    occlusion: float = 0.35
    truncation: float = 0.15
    min_visible: float = 0.5
    blur: float = 0.7
    split: float = 0.6
    walls: float = 0.2
    noise: float = 0.12
    phrases: str = "referring"


_SCENES07 = SceneStyle("scenes07")
# Two objects and more, or a phrase has nothing to choose from.
_GROUNDING = replace(
    _SCENES07, name="", count_weights=(0.1, 0.5, 0.4), min_area=0.07, max_area=0.3, occlusion=0.2
)

PRESETS: dict[str, SceneStyle] = {
    style.name: style
    for style in (
        _SCENES07,
        replace(
            _SCENES07,
            name="scenes12",
            count_weights=(0.62, 0.3, 0.08),
            min_area=0.08,
            max_area=0.43,
            clutter=3.0,
        ),
        replace(
            _SCENES07,
            name="scenes20k",
            count_weights=(0.3, 0.4, 0.3),
            min_area=0.05,
            max_area=0.33,
            small_bias=1.8,
            clutter=3.0,
            occlusion=0.4,
        ),
        replace(
            _SCENES07,
            name="pretrain",
            count_weights=(0.45, 0.37, 0.18),
            min_area=0.05,
            max_area=0.44,
            clutter=10.0,
        ),
        replace(_SCENES07, name="tune"),
        # Walls alone, since photographs of backgrounds show things: is nothing found there?
        replace(_SCENES07, name="background", count_weights=(), clutter=0, walls=1.0),
        # Phrase grounding: what plays COCO and Visual Genome in training, and three test sets.
        replace(_GROUNDING, name="captions", phrases="captions"),
        replace(_GROUNDING, name="regions", phrases="regions"),
        replace(_GROUNDING, name="regions_test", phrases="regions"),
        replace(_GROUNDING, name="entities_test", phrases="entities", camouflage=0.7),
        replace(_GROUNDING, name="expressions_test", phrases="expressions", clutter=3.5),
    )
}
