"""How a dataset is read: the options of all layouts, and which of them has which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import InputError
from ...options import described, option, recorded
from .frames import FRAMES
from .layouts import IMAGE_SETS, LAYOUTS

WITH_PHRASES = ("flickr30k", "visual_genome", "referit")
WITH_TEXTS = ("coco", *WITH_PHRASES)


@dataclass(frozen=True)
class Reading:
    """How the dataset is read."""

    layout: str = option(help="how the files are laid out", choices=LAYOUTS, flag="format")
    image_set: str | None = option(
        None,
        "voc: which list of ImageSets/Main [trainval]; flickr30k: which split [test]",
        only=("voc", "flickr30k"),
    )
    round_boxes: bool = option(False, "round box corners to integers", only=("coco",))
    masks: bool = option(False, "keep masks of objects, as run lengths", only=("coco",), later=True)
    inclusive_boxes: bool = option(
        False,
        "boxes end at their last pixels, as WWbL's code has them, not one beyond",
        only=("flickr30k",),
        later=True,
    )
    texts_per_image: int | None = option(
        None,
        "keep so many captions and phrases of an image, drawn once [all]",
        min=1,
        only=WITH_TEXTS,
    )
    limit: int | None = option(None, "take only the first N images [all]", min=1)
    frame: str = option(
        "auto",
        "boxes were drawn on: the upright image, the stored one (EXIF ignored), or as sizes tell",
        choices=FRAMES,
    )
    max_side: int = option(
        1024,
        "larger images are shrunk to it before f sees them; boxes are of the whole image",
        unit="px",
        min=1,
    )
    max_skipped: int | None = option(
        None, "fail if more images are unusable [1 % of them, but at least 10]", min=0
    )

    def recorded(self) -> dict[str, Any]:
        """What the provenance says, with the image set that is read, given or not."""
        said = recorded(self)
        layout = said.pop("layout")
        return said | {"format": layout, "image_set": self.image_set or IMAGE_SETS.get(layout)}


def refuse_misplaced(layout: str, *options: Any) -> None:
    """Check that what is given is for this layout.

    Args:
        options: instances of classes of options.

    Raises:
        InputError: an option is given that only other layouts have.
    """
    for given in options:
        for each in described(type(given)):
            layouts = each.option.only
            if layouts and getattr(given, each.name) and layout not in layouts:
                known = " or ".join(layouts)
                raise InputError(f"{each.flag} is for --format {known}, not {layout}; leave it out")
