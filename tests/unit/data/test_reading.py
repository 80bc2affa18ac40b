"""Options of datasets: who has which, and what is recorded of them."""

from __future__ import annotations

import pytest

from bbr.data.readers.reading import Reading, refuse_misplaced
from bbr.errors import InputError


def test_the_image_set_that_is_read_is_recorded() -> None:
    assert Reading("voc").recorded() == {
        "format": "voc",
        "image_set": "trainval",
        "round_boxes": False,
        "texts_per_image": None,
        "limit": None,
        "frame": "auto",
        "max_side": 1024,
        "max_skipped": None,
    }
    given = Reading("flickr30k", "val", inclusive_boxes=True).recorded()
    assert (given["image_set"], given["inclusive_boxes"]) == ("val", True)
    assert Reading("folder").recorded()["image_set"] is None


def test_options_of_other_layouts_are_refused() -> None:
    refuse_misplaced("coco", Reading("coco", round_boxes=True))
    message = "--round-boxes is for --format coco, not voc; leave it out"
    with pytest.raises(InputError, match=message):
        refuse_misplaced("voc", Reading("voc", round_boxes=True))
    message = "--image-set is for --format voc or flickr30k, not folder"
    with pytest.raises(InputError, match=message):
        refuse_misplaced("folder", Reading("folder", "train"))
