"""Names of artifacts: what stands between the slashes of a path below results/.

    {backbone}  a configured one, such as dinov2_scenes, or one refined from it (f^h):
                dinov2_scenes+scenes07.lost.default.0
                pixels, of methods that look at the image alone: no network
    {boxes}     a heuristic, such as lost; or the boxes of a detector h:
                h.scenes07.lost.default.0
                or those of a CAD trained on the heuristic's boxes of the same backbone, with
                its seed: cad.lost.0; where it was trained on another dataset than this one:
                cad.scenes07.lost.0

The first two say in the same way how h was trained: on which dataset, by the boxes of which
heuristic, as which variant of the configuration, and with which seed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

PIXELS = "pixels"
GROUNDING = "grounding"  # stands for a backbone in paths of phrase grounding
# What is not a heuristic on the patch features of one image: how these are run, and on what.
IMAGE_METHODS = ("selective_search", "edge_boxes")
COLLECTION_METHODS = ("ddt", "lod")


@dataclass(frozen=True)
class Training:
    """How a detector h was trained, and which network it taught afterwards.

    `method` is the heuristic whose boxes h learned; none in phrase grounding, where g has them.
    """

    dataset: str
    variant: str
    seed: int
    method: str | None = None

    def __str__(self) -> str:
        return ".".join((self.dataset, *self._of_method(), self.variant, str(self.seed)))

    @classmethod
    def parse(cls, text: str) -> Training:
        """The inverse of `str`."""
        dataset, *method, variant, seed = text.split(".")
        return cls(dataset, variant, int(seed), *method)

    def folder(self, base: str) -> str:
        """Where h and what it refined lie; `base` is the backbone f, or GROUNDING for g."""
        place = "/".join((self.dataset, base, *self._of_method(), self.variant))
        return f"results/{place}/seed{self.seed}"

    def _of_method(self) -> tuple[str, ...]:
        return () if self.method is None else (self.method,)


def refined_backbone(base: str, training: Training) -> str:
    """The name of f^h."""
    return f"{base}+{training}"


def split_backbone(name: str) -> tuple[str, Training | None]:
    """The configured backbone in a name, and how it was refined, if it was."""
    base, plus, training = name.partition("+")
    return base, Training.parse(training) if plus else None


def detector_boxes(training: Training) -> str:
    """The name of h's own boxes."""
    return f"h.{training}"


def cad_boxes(method: str, seed: int, trained_on: str | None = None) -> str:
    """The name of the boxes of a CAD; `trained_on` is its dataset, if they are of another."""
    return ".".join(["cad", *([] if trained_on is None else [trained_on]), method, str(seed)])


def cad_seed(name: str) -> int | None:
    """The seed of the CAD in a name of boxes, if they are a CAD's."""
    return int(name.rpartition(".")[2]) if name.startswith("cad.") else None


def split_boxes(name: str) -> tuple[str, Training | None]:
    """The heuristic in a name of boxes, and how h was trained if they are h's own."""
    if name.startswith("cad."):
        return name.split(".")[-2], None
    if name.startswith("h."):
        training = Training.parse(name.removeprefix("h."))
        return training.method, training
    return name, None


def one_of(names: Iterable[str]) -> str:
    """A regular expression for any of the names; for none of them, one that never matches."""
    return "|".join(map(re.escape, names)) or "(?!)"


def wildcard_patterns(
    datasets: Iterable[str],
    backbones: Iterable[str],
    methods: Iterable[str],
    variants: Iterable[str],
) -> dict[str, str]:
    """The regular expression of each wildcard, from the names that are configured."""
    dataset, base = one_of(datasets), one_of(backbones)
    method, variant = one_of(methods), one_of(variants)
    training = rf"(?:{dataset})\.(?:{method})\.(?:{variant})\.\d+"
    return {
        "dataset": dataset,
        "base": base,
        "backbone": rf"(?:{base})(?:\+{training})?",
        "method": method,
        "variant": variant,
        "seed": r"\d+",
        "shard": r"\d+",
        "training": training,
        "trained_on": dataset,
        "boxes": rf"{method}|h\.{training}|cad\.(?:(?:{dataset})\.)?(?:{method})\.\d+",
    }
