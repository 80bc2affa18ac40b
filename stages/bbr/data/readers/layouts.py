"""One way into all readers, by the name of the layout."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from .coco import read_coco
from .flickr30k import read_flickr30k
from .folder import read_folder
from .listing import Listing
from .referit import read_referit
from .visual_genome import read_visual_genome
from .voc import read_voc

LAYOUTS = ("voc", "coco", "folder", "flickr30k", "visual_genome", "referit")
IMAGE_SETS = {"voc": "trainval", "flickr30k": "test"}  # where none is named
_NEEDED = {
    "coco": "instances_*.json",
    "visual_genome": "region_descriptions.json",
    "referit": "FOLDER",
}


def read_layout(
    layout: str,
    source: Path,
    *,
    image_set: str | None = None,
    annotations: Path | None = None,
    captions: Path | None = None,
    phrases: Path | None = None,
    image_data: Path | None = None,
    image_list: Path | None = None,
    round_boxes: bool = False,
    inclusive_boxes: bool = False,
    masks: bool = False,
) -> Listing:
    """What a dataset says of itself; each layout passes over options that it does not have.

    Raises:
        InputError: a file is missing or malformed.
    """
    image_set = image_set or IMAGE_SETS.get(layout, "")
    if layout == "folder":
        return read_folder(source, phrases)
    if layout == "voc":
        return read_voc(source, image_set)
    if layout == "flickr30k":
        return read_flickr30k(source, image_set, annotations, inclusive_boxes)
    if annotations is None:
        raise InputError(f"--format {layout} needs --annotations {_NEEDED[layout]}")
    if layout == "visual_genome":
        return read_visual_genome(annotations, source, image_data, image_list)
    if layout == "referit":
        return read_referit(annotations, source, image_list)
    return read_coco(annotations, source, round_boxes, image_list, captions, masks)
