"""What is said of scenes, style by style."""

from dataclasses import replace

import numpy as np
import pytest

from bbr.scenes.captions import STYLES, caption_scene, mention_objects
from bbr.scenes.compose import render_scene, scene_rng
from bbr.scenes.phrases import Traits, describe
from bbr.scenes.presets import PRESETS


def traits(category, colour, centre=(0.5, 0.5), texture="", area=0.2):
    return Traits(category, colour, texture, "", centre, area)


SCENE = [
    traits("mug", "red", (0.2, 0.5)),
    traits("mug", "blue", (0.8, 0.3)),
    traits("fish", "red", (0.5, 0.8)),
]


def rng():
    return np.random.default_rng(0)


def of_style(style, scene=SCENE):
    return mention_objects(scene, style, rng())


def test_regions_are_single_descriptions():
    mentions = of_style("regions")
    known = {n: describe(SCENE, n) for n in range(3)}
    for mention in mentions:
        (phrase,), (number,) = mention.phrases, mention.objects
        assert any(d in (phrase, f"a {phrase}", f"the {phrase}") for d in known[number])
    assert len(mentions) == sum(map(len, known.values()))


def test_entities_have_several_sentences_and_groups_several_boxes():
    mentions = of_style("entities")
    assert [m.objects for m in mentions] == [[0], [1], [2], [0, 1], [0, 2]]
    assert all(2 <= len(m.phrases) <= 5 for m in mentions)
    assert [p.lower() for p in mentions[3].phrases] == ["two mugs", "the mugs", "mugs"]
    assert [p.lower() for p in mentions[4].phrases] == ["red objects", "red things"]


def test_a_group_of_one_category_and_colour():
    scene = [traits("fish", "red"), traits("fish", "red", (0.1, 0.1)), traits("fish", "red")]
    group = of_style("entities", scene)[-1]
    assert group.objects == [0, 1, 2]
    assert [p.lower() for p in group.phrases] == ["three red fish", "the red fish", "red fish"]


def test_expressions_are_terse():
    mentions = of_style("expressions")
    assert mentions[0].phrases == ["red mug", "mug on left"]
    assert mentions[1].phrases[0] == "blue mug"
    assert mentions[2].phrases == ["fish", "fish on bottom"]


def test_a_lone_object_is_called_by_its_category_and_colour():
    assert of_style("expressions", SCENE[:1])[0].phrases == ["mug", "red mug"]


def test_lookalikes_still_get_an_expression():
    twins = [traits("mug", "red"), traits("mug", "red")]
    assert [m.phrases for m in of_style("expressions", twins)] == [["red mug"]] * 2


def test_captions_name_every_object():
    captions = caption_scene(SCENE, "captions", rng())
    assert len(captions) == 5
    for caption in captions:
        assert caption.count("mug") == 2
        assert caption.count("fish") == 1
    assert of_style("captions") == []


@pytest.mark.parametrize("style", STYLES)
def test_no_objects_no_words(style):
    assert mention_objects([], style, rng()) == caption_scene([], style, rng()) == []


@pytest.mark.parametrize(
    "preset", [name for name, s in PRESETS.items() if s.phrases != "referring"]
)
def test_rendered_mentions_are_of_the_scene(preset):
    style = replace(PRESETS[preset], size=48)
    for number in range(1, 30):
        scene = render_scene(style, scene_rng(style, 0, number))
        assert bool(scene.captions) == (preset == "captions")
        for mention in scene.mentions:
            assert mention.phrases
            assert all(p and p == " ".join(p.split()) for p in mention.phrases)
            assert set(mention.objects) <= set(range(len(scene.objects)))
            if preset == "expressions_test":
                assert all(len(p.split()) <= 4 for p in mention.phrases)


def test_words_change_nothing_of_the_image():
    style = replace(PRESETS["scenes07"], size=48)
    first = render_scene(style, scene_rng(style, 0, 1))
    for words in STYLES:
        other = render_scene(replace(style, phrases=words), scene_rng(style, 0, 1))
        np.testing.assert_array_equal(first.image, other.image)
        assert [o.bbox_xywh for o in first.objects] == [o.bbox_xywh for o in other.objects]
