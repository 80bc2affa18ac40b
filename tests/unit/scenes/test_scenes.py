"""Rendered scenes: reproducible, with true boxes and phrases."""

import itertools
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from bbr.scenes import compose
from bbr.scenes.categories import CATEGORIES, CATEGORY_IDS
from bbr.scenes.compose import render_scene, scene_rng
from bbr.scenes.objects import draw_specimen, shadow
from bbr.scenes.palette import NAMES, contrasting_name, jittered, nearest_name
from bbr.scenes.photos import random_photograph
from bbr.scenes.phrases import Traits, describe
from bbr.scenes.presets import PRESETS
from bbr.scenes.textures import TEXTURES, fractal_noise, pattern


def scenes(preset, count, size=64, seed=0, **changes):
    style = replace(PRESETS[preset], size=size, **changes)
    return [render_scene(style, scene_rng(style, seed, n)) for n in range(1, count + 1)]


def bounding_box(mask):
    return cv2.boundingRect(mask.astype(np.uint8))


def test_same_generator_gives_same_scene():
    style = PRESETS["scenes07"]
    first, again = (render_scene(style, scene_rng(style, 3, 7)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    assert [o.bbox_xywh for o in first.objects] == [o.bbox_xywh for o in again.objects]
    assert (first.mentions, first.captions) == (again.mentions, again.captions)


def test_scene_depends_on_seed_number_and_preset_only():
    style = PRESETS["scenes07"]
    other = [scene_rng(style, 1, 1), scene_rng(style, 0, 2), scene_rng(PRESETS["tune"], 0, 1)]
    values = {generator.random() for generator in [scene_rng(style, 0, 1), *other]}
    assert len(values) == 4
    assert scene_rng(replace(style, size=64), 0, 1).random() in values


@pytest.mark.parametrize("size", [32, 100, 300])
def test_image_has_the_style_s_size(size):
    (scene,) = scenes("scenes07", 1, size)
    assert scene.image.shape == (size, size, 3)
    assert scene.image.dtype == np.uint8
    assert scene.image.std() > 5


@pytest.mark.parametrize("preset", [name for name in PRESETS if PRESETS[name].count_weights])
def test_boxes_are_tight_about_disjoint_visible_pixels(preset):
    for scene in scenes(preset, 20):
        for thing in scene.objects:
            assert thing.bbox_xywh == bounding_box(thing.mask)
            assert thing.category in CATEGORY_IDS
        assert sum(thing.mask.astype(int) for thing in scene.objects).max() == 1


@pytest.fixture
def dyed(monkeypatch):
    """Paint the i-th object of a scene in channel i only, in a value that nothing else has."""
    pure = -1e6

    def paint(specimen, *_):
        colours = np.zeros((*specimen.alpha.shape, 3), np.float32)
        colours[..., next(channels)] = pure
        return colours

    def share(image, channel):
        """How much of a pixel is the object: (h, w), 0 to 1."""
        return image[..., channel] / pure

    channels = itertools.cycle(range(3))
    monkeypatch.setattr(compose, "paint_specimen", paint)
    monkeypatch.setattr(compose, "shadow", lambda alpha, _: np.zeros(alpha.shape, np.float32))
    monkeypatch.setattr(compose, "_finish", lambda image, _: image)

    def one(number, **changes):
        nonlocal channels
        channels = itertools.cycle(range(3))
        style = replace(PRESETS["scenes20k"], size=64, **changes)
        scene = render_scene(style, scene_rng(style, 0, number))
        return [(share(scene.image, i), thing) for i, thing in enumerate(scene.objects)]

    return one


def test_mask_is_where_the_paint_is(dyed):
    for number in range(30):
        ((share, thing),) = dyed(number, count_weights=(1,), truncation=0.5)
        np.testing.assert_array_equal(thing.mask, share > 0.501)


def test_mask_of_a_covered_object_is_what_shows(dyed):
    for number in range(30):
        for share, thing in dyed(number, occlusion=0.9):
            # Between the bounds lie border pixels, in which objects mix.
            assert not np.any((share > 0.76) & ~thing.mask)
            assert not np.any(thing.mask & (share < 0.24))


@pytest.mark.parametrize("name", CATEGORIES)
def test_category_s_outline_fits_its_units_and_is_one_piece(name):
    for seed in range(5):
        parts = CATEGORIES[name].build(np.random.default_rng(seed))
        points = np.concatenate([part.outline for part in parts])
        assert 2 <= len({part.material for part in parts}) <= 4
        assert np.abs(points).max() <= 1.15
        cover = np.zeros((120, 120), np.uint8)
        for part in parts:
            cv2.fillPoly(cover, [np.round(part.outline * 50 + 60).astype(np.int32)], 255)
        assert cv2.connectedComponents(cover)[0] == 2


def test_complete_objects_have_the_style_s_box_areas():
    style = replace(PRESETS["scenes07"], size=256)
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(150):
        _, _, width, height = bounding_box(draw_specimen(style, rng).alpha >= 128)
        assert max(width, height) <= style.max_side * style.size + 2
        areas.append(width * height / style.size**2)
    assert min(areas) > style.min_area * 0.93
    assert max(areas) < style.max_area * 1.07
    assert min(areas) < 0.1 < 0.3 < max(areas)


@pytest.mark.parametrize("size", [32, 128, 512])
def test_shadow_fades_within_the_canvas(size):
    """A shadow cut off at the canvas would draw the very box that is to be found."""
    style, rng = replace(PRESETS["pretrain"], size=size), np.random.default_rng(0)
    for angle in np.linspace(0, 6, 30):
        alpha = draw_specimen(style, rng).alpha
        shade = shadow(alpha, np.array([np.cos(angle), np.sin(angle)], np.float32))
        border = np.concatenate([shade[0], shade[-1], shade[:, 0], shade[:, -1]])
        assert border.max() < 0.01 < shade.max()


def test_objects_stay_visible_under_heavy_occlusion():
    rendered = scenes("scenes20k", 40, occlusion=0.9, truncation=0.9)
    fractions = [thing.visible_fraction for scene in rendered for thing in scene.objects]
    assert min(fractions) >= PRESETS["scenes20k"].min_visible
    assert max(fractions) <= 1
    assert np.mean(np.array(fractions) < 0.95) > 0.4


def test_without_occlusion_and_truncation_all_is_visible():
    for scene in scenes("scenes20k", 20, occlusion=0.0, truncation=0.0):
        assert all(thing.visible_fraction == 1 for thing in scene.objects)


def test_presets_differ_as_they_say():
    count, area = {}, {}
    for preset in ("scenes07", "scenes12", "scenes20k"):
        rendered = scenes(preset, 150, size=32)
        boxes = np.array([thing.bbox_xywh for scene in rendered for thing in scene.objects])
        count[preset] = len(boxes) / len(rendered)
        area[preset] = np.mean(boxes[:, 2] * boxes[:, 3]) / 32**2
    assert count["scenes12"] < count["scenes07"] < count["scenes20k"]
    assert area["scenes12"] > area["scenes07"] > area["scenes20k"]


@pytest.mark.parametrize("preset", ["scenes07", "scenes12", "scenes20k"])
def test_fixed_boxes_are_poor_guesses(preset):
    rendered = scenes(preset, 200, size=48)
    for side in (1.0, 0.7):
        margin, length = 24 - 24 * side, 48 * side
        guess = margin, margin, length, length
        hits = [any(iou(guess, o.bbox_xywh) >= 0.5 for o in s.objects) for s in rendered]
        assert np.mean(hits) < 0.3


def iou(a, b):
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def traits(category="disc", colour="red", texture="", accent="blue", x=0.5, y=0.5, area=0.2):
    return Traits(category, colour, texture, accent, (x, y), area)


def test_phrases_of_a_lone_object():
    assert describe([traits("house", "orange", "striped", "blue", area=0.05)], 0) == [
        "an orange house",
        "a small orange striped house",
        "an orange house with a blue roof",
    ]
    assert describe([traits("car", "red", "", "orange")], 0)[-1] == "a red car with orange wheels"


def test_phrases_tell_different_objects_apart_by_place():
    scene = [traits("cube", "blue", x=0.2, area=0.05), traits("mug", "red", x=0.8)]
    assert describe(scene, 0) == [
        "a blue cube",
        "a small blue cube",
        "a blue cube with a blue top",
        "the blue cube left of the red mug",
    ]
    assert "the red mug right of the blue cube" in describe(scene, 1)


def test_phrases_of_lookalikes_name_what_differs():
    scene = [traits(x=0.2, y=0.2), traits(x=0.8, y=0.25), traits("mug", "green", x=0.5, y=0.3)]
    assert describe(scene, 0) == ["the red disc left of the green mug", "the red disc on the left"]
    assert describe(scene, 1) == [
        "the red disc right of the green mug",
        "the red disc on the right",
    ]
    scene = [traits(texture="striped"), traits(texture="dotted")]
    assert describe(scene, 0) == ["a red striped disc"]
    scene = [traits(accent="blue"), traits(accent="green")]
    assert describe(scene, 1) == ["a red disc with a green hub"]


def test_a_hidden_accent_is_not_named_and_counts_as_any_colour():
    assert all("hub" not in phrase for phrase in describe([traits(accent="")], 0))
    assert describe([traits(accent="blue"), traits(accent="")], 0) == ["a red disc"]


def test_indistinguishable_objects_share_their_one_phrase():
    twins = [traits(texture="wooden"), traits(texture="wooden")]
    assert describe(twins, 0) == describe(twins, 1) == ["a red wooden disc"]


def test_rendered_phrases_are_unambiguous_and_grammatical():
    for scene in scenes("scenes20k", 150, size=32):
        owners = {}
        for number, (thing, mention) in enumerate(zip(scene.objects, scene.mentions, strict=True)):
            assert mention.objects == [number]
            assert mention.phrases
            for phrase in mention.phrases:
                assert thing.category in phrase
                assert re.fullmatch(r"(an? |the )[a-z]+( [a-z]+)+", phrase)
                assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", phrase)
                owners.setdefault(phrase, set()).add(number)
        for phrase, numbers in owners.items():
            if len(numbers) > 1:
                assert all(scene.mentions[n].phrases == [phrase] for n in numbers)


@pytest.mark.parametrize("name", NAMES)
def test_colours_keep_their_names(name):
    rng = np.random.default_rng(0)
    assert np.mean([nearest_name(jittered(name, rng)) == name for _ in range(200)]) > 0.9
    assert contrasting_name(name, rng) != name


@pytest.mark.parametrize("kind", [kind for kind in TEXTURES if kind != "plain"])
def test_patterns_vary_within_the_unit_range(kind):
    x, y = np.meshgrid(*[np.linspace(-1, 1, 50, dtype=np.float32)] * 2)
    for seed in range(5):
        field = pattern(kind, x, y, 0.04, np.random.default_rng(seed))
        assert field.shape == (50, 50)
        assert field.dtype == np.float32
        assert field.min() >= 0
        assert field.max() <= 1
        assert field.std() > 0.05


def test_noise_and_photographs_have_the_asked_shape():
    rng = np.random.default_rng(0)
    assert fractal_noise(20, 33, 0.5, rng).shape == (20, 33)
    for _ in range(60):
        photograph = random_photograph(17, 40, rng)
        assert photograph.shape == (17, 40, 3)
        assert photograph.dtype == np.float32
        assert np.isfinite(photograph).all()


@pytest.mark.bench
def test_rate(capsys):
    """Scenes a second on one core, at the default size; far below what an idle machine does."""
    style, count = PRESETS["scenes07"], 400
    scenes("scenes07", 40, size=128, seed=1)  # loads the photographs
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    start = cv2.getTickCount()
    for number in range(count):
        scene = render_scene(style, scene_rng(style, 0, number))
        cv2.imencode(".jpg", scene.image, (cv2.IMWRITE_JPEG_QUALITY, 92))
    seconds = (cv2.getTickCount() - start) / cv2.getTickFrequency()
    cv2.setNumThreads(threads)
    with capsys.disabled():
        print(f"\nscenes: {count / seconds:.0f} images/s")
    assert count / seconds > 60


def test_walls_alone_have_no_objects():
    style = PRESETS["background"]
    scene = render_scene(style, scene_rng(style, 0, 1))
    assert (scene.objects, scene.mentions, scene.captions) == ([], [], [])
    assert scene.image.std() > 0
