"""What is said of a scene, in the style of each phrase dataset: mentions of objects, and captions.

referring    one mention an object, with all that `describe` finds to say of it
captions     whole-image captions, as of COCO; objects have boxes but no phrases
regions      each description of an object is a mention of its own, as of Visual Genome
entities     an object, or all that share a category or colour, with the words that several
             captions have for it, as of Flickr30k Entities
expressions  the fewest words that tell an object from the others, as of ReferIt
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .phrases import (
    FULL,
    PLAIN,
    RELATIONS,
    SIDES,
    Traits,
    describe,
    noun_phrase,
    objects_alike,
    usable_forms,
    with_article,
)

_CAPTIONS = 5
_NUMBERS = {2: "two", 3: "three", 4: "four"}
_PLURALS = {"cross": "crosses", "fish": "fish"}


@dataclass(frozen=True)
class Mention:
    """Words for one or more objects of a scene.

    Attributes:
        phrases: at least one; each refers to all of `objects`.
        objects: their positions in the scene.
    """

    phrases: list[str]
    objects: list[int]


def mention_objects(scene: list[Traits], style: str, rng: np.random.Generator) -> list[Mention]:
    """The mentions of a scene's objects in one of `STYLES`."""
    return STYLES[style](scene, rng)


def caption_scene(scene: list[Traits], style: str, rng: np.random.Generator) -> list[str]:
    """Five captions of the whole scene; none unless the style has them."""
    if style != "captions" or not scene:
        return []
    return [_caption(scene, rng) for _ in range(_CAPTIONS)]


def _referring(scene: list[Traits], rng: np.random.Generator) -> list[Mention]:
    return [Mention(describe(scene, number), [number]) for number in range(len(scene))]


def _no_mentions(scene: list[Traits], rng: np.random.Generator) -> list[Mention]:
    return []


def _regions(scene: list[Traits], rng: np.random.Generator) -> list[Mention]:
    return [
        Mention([_without_article(phrase, rng)], [number])
        for number in range(len(scene))
        for phrase in describe(scene, number)
    ]


def _entities(scene: list[Traits], rng: np.random.Generator) -> list[Mention]:
    """Each object by two to five captions, then each group."""
    mentions = []
    for number, target in enumerate(scene):
        known = describe(scene, number)
        known += [with_article(noun_phrase(target, form)) for form in usable_forms(target)]
        chosen = rng.choice(len(known), size=rng.integers(2, _CAPTIONS + 1))
        mentions.append(Mention([_capitalised(known[i], rng) for i in chosen], [number]))
    return mentions + _groups(scene, rng)


def _groups(scene: list[Traits], rng: np.random.Generator) -> list[Mention]:
    """Objects of one category ("two red mugs", "the mugs"), and of one colour ("red objects")."""
    mentions = []
    for category in dict.fromkeys(target.category for target in scene):
        members = [n for n, target in enumerate(scene) if target.category == category]
        if len(members) > 1:
            plural = _PLURALS.get(category, f"{category}s")
            colours = {scene[n].colour for n in members}
            named = f"{colours.pop()} {plural}" if len(colours) == 1 else plural
            count = _NUMBERS.get(len(members), "several")
            phrases = [f"{count} {named}", f"the {named}", named]
            mentions.append(Mention([_capitalised(p, rng) for p in phrases], members))
    for colour in dict.fromkeys(target.colour for target in scene):
        members = [n for n, target in enumerate(scene) if target.colour == colour]
        if len({scene[n].category for n in members}) > 1:
            phrases = [f"{colour} objects", f"{colour} things"]
            mentions.append(Mention([_capitalised(p, rng) for p in phrases], members))
    return mentions


def _expressions(scene: list[Traits], rng: np.random.Generator) -> list[Mention]:
    return [
        Mention(list(dict.fromkeys([_tersest(scene, n), _by_place(scene, n, rng)])), [n])
        for n in range(len(scene))
    ]


def _tersest(scene: list[Traits], number: int) -> str:
    """Such as "mug", "red mug" or "small red mug": the first that is of this object alone."""
    forms = [(), *usable_forms(scene[number])]
    telling = (form for form in forms if objects_alike(scene, number, form) == [number])
    return noun_phrase(scene[number], next(telling, FULL))


def _by_place(scene: list[Traits], number: int, rng: np.random.Generator) -> str:
    """Such as "mug on left", where it lies to that side of all others; else by its colour."""
    others = [n for n in range(len(scene)) if n != number]
    for side in rng.permutation(list(SIDES)):
        if others and all(RELATIONS[SIDES[side]](scene[number], scene[n]) for n in others):
            return f"{noun_phrase(scene[number], ())} on {side}"
    return noun_phrase(scene[number], PLAIN)


def _caption(scene: list[Traits], rng: np.random.Generator) -> str:
    """All objects in random order, each in a random usable form."""
    order = rng.permutation(len(scene))
    nouns = [with_article(noun_phrase(scene[n], _any_form(scene[n], rng))) for n in order]
    first, second = scene[order[0]], scene[order[-1]]
    holding = [name for name, holds in RELATIONS.items() if holds(first, second)]
    if len(scene) > 1 and holding and rng.random() < 0.5:
        between = f" with {' and '.join(nouns[1:-1])}" if nouns[1:-1] else ""
        return f"{nouns[0]} {holding[0]} {nouns[-1]}{between}"
    listed = ", ".join(nouns[:-1]) + " and " + nouns[-1] if len(nouns) > 1 else nouns[0]
    return str(rng.choice(["", "a photo of ", "there is ", "a scene with "])) + listed


def _any_form(target: Traits, rng: np.random.Generator) -> tuple[str, ...]:
    forms = usable_forms(target)
    return forms[rng.integers(len(forms))] if forms else ()


def _without_article(phrase: str, rng: np.random.Generator) -> str:
    """Half of the time, as region descriptions have it."""
    article, _, rest = phrase.partition(" ")
    return rest if article in ("a", "an", "the") and rng.random() < 0.5 else phrase


def _capitalised(phrase: str, rng: np.random.Generator) -> str:
    """Half of the time, as at the beginning of a caption."""
    return phrase[0].upper() + phrase[1:] if rng.random() < 0.5 else phrase


STYLES: dict[str, Callable[[list[Traits], np.random.Generator], list[Mention]]] = {
    "referring": _referring,
    "captions": _no_mentions,
    "regions": _regions,
    "entities": _entities,
    "expressions": _expressions,
}
