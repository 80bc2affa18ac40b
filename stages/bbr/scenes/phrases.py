"""Phrases that refer to one object of a scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from .categories import CATEGORIES

_CLEAR_OFFSET = 0.12  # how far apart centres must be for "left of", as a fraction of the image
_SMALL, _LARGE = 0.10, 0.26  # box areas, fractions of the image


@dataclass(frozen=True)
class Traits:
    """What a phrase can say of an object.

    Attributes:
        category, colour: keys of CATEGORIES and PALETTE.
        texture: an adjective of TEXTURES, "" for a plain one.
        accent: the accent parts' colour, a key of PALETTE; "" where they may be hidden.
        centre: (x, y) of its box as fractions of the image.
        area: of its box as a fraction of the image.
    """

    category: str
    colour: str
    texture: str
    accent: str
    centre: tuple[float, float]
    area: float

    @property
    def size(self) -> str:
        """ "small", "large", or "" between."""
        return "small" if self.area < _SMALL else "large" if self.area > _LARGE else ""


RELATIONS: dict[str, Callable[[Traits, Traits], bool]] = {
    "left of": lambda a, b: b.centre[0] - a.centre[0] > _CLEAR_OFFSET,
    "right of": lambda a, b: a.centre[0] - b.centre[0] > _CLEAR_OFFSET,
    "above": lambda a, b: b.centre[1] - a.centre[1] > _CLEAR_OFFSET,
    "below": lambda a, b: a.centre[1] - b.centre[1] > _CLEAR_OFFSET,
}
SIDES = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}
# The traits that a noun phrase names beside the category, plainest first.
Form = tuple[str, ...]
PLAIN: Form = ("colour",)
FULL: Form = ("size", "colour", "texture")
_FORMS = (PLAIN, ("colour", "texture"), ("size", "colour"), FULL)


def describe(scene: list[Traits], number: int) -> list[str]:
    """Phrases for object `number` of a scene: one to five, the plainest first.

    Each refers to that object alone; where no such phrase exists, the only one is the fullest
    description that the object shares with another.
    """
    forms = telling_forms(scene, number)
    plainest_and_fullest = dict.fromkeys(forms[:1] + forms[-1:])
    phrases = [
        *(with_article(noun_phrase(scene[number], form)) for form in plainest_and_fullest),
        *_by_accent(scene, number),
        *_by_relation(scene, number),
        *_by_side(scene, number),
    ]
    return phrases or [with_article(noun_phrase(scene[number], FULL))]


def noun_phrase(target: Traits, form: Form) -> str:
    """Such as "small red striped disc"."""
    words = [getattr(target, trait) for trait in form]
    return " ".join([*filter(None, words), target.category])


def objects_alike(scene: list[Traits], number: int, form: Form) -> list[int]:
    """The objects that the noun phrase of object `number` fits, itself included."""
    wanted = noun_phrase(scene[number], form)
    return [n for n, other in enumerate(scene) if noun_phrase(other, form) == wanted]


def telling_forms(scene: list[Traits], number: int) -> list[Form]:
    """The forms that single object `number` out and have a word for each of their traits."""
    usable = usable_forms(scene[number])
    return [form for form in usable if objects_alike(scene, number, form) == [number]]


def usable_forms(target: Traits) -> list[Form]:
    return [form for form in _FORMS if all(getattr(target, trait) for trait in form)]


def _by_accent(scene: list[Traits], number: int) -> list[str]:
    """Such as "a red house with a blue roof"."""
    target = scene[number]
    rivals = [n for n in objects_alike(scene, number, PLAIN) if n != number]
    if not target.accent or any(scene[n].accent in (target.accent, "") for n in rivals):
        return []
    part = CATEGORIES[target.category].accent
    accent = f"{target.accent} {part}"
    accent = accent if part.endswith("s") else with_article(accent)
    return [f"{with_article(noun_phrase(target, PLAIN))} with {accent}"]


def _by_relation(scene: list[Traits], number: int) -> list[str]:
    """Such as "the small blue cube left of the red mug"; the plainest that is unambiguous."""
    target = scene[number]
    anchors = [n for n in range(len(scene)) if n != number and telling_forms(scene, n)]
    for form, other, relation in product(usable_forms(target), anchors, RELATIONS):
        holds = RELATIONS[relation]
        alike = objects_alike(scene, number, form)
        if [n for n in alike if holds(scene[n], scene[other])] == [number]:
            anchor = noun_phrase(scene[other], telling_forms(scene, other)[0])
            return [f"the {noun_phrase(target, form)} {relation} the {anchor}"]
    return []


def _by_side(scene: list[Traits], number: int) -> list[str]:
    """Such as "the red disc on the left", where several look alike."""
    others = [n for n in objects_alike(scene, number, PLAIN) if n != number]
    for side, relation in SIDES.items():
        if others and all(RELATIONS[relation](scene[number], scene[n]) for n in others):
            preposition = "on" if side in ("left", "right") else "at"
            return [f"the {noun_phrase(scene[number], PLAIN)} {preposition} the {side}"]
    return []


def with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
