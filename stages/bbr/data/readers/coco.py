"""COCO's instances format, and its captions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from ...command_line.cli import existing_file
from ...errors import InputError
from ...storage.json_files import read_json
from ..index import as_index
from .listing import Listing, existing_folder, read_list
from .mending import mended
from .numbers import whole


def read_coco(
    annotations: Path | str,
    source: Path | str,
    round_boxes: bool = False,
    image_list: Path | str | None = None,
    captions: Path | str | None = None,
    masks: bool = False,
) -> Listing:
    """A dataset in COCO's instances format; ids are its own, crowds are kept as such.

    Sizes and boxes that are no numbers, or none, do not cost the dataset: see `mending.mended`.

    Args:
        annotations: `instances_*.json`.
        source: the folder of the images.
        round_boxes: round the corners of boxes to integers, as the CorLoc figures published for
            COCO20k have it.
        image_list: a text file of file names, one a line (folders before a name are ignored);
            only these images are taken, in the order of `annotations`.
        captions: `captions_*.json` of the same images, which then carry `captions`.
        masks: keep each object's "segmentation", as it stands there.

    Raises:
        InputError: a file is missing or malformed, or the list names unknown images.
    """
    root = existing_folder(source)
    path = existing_file(annotations, "--annotations")
    content, notes = mended(read_json(path), path)
    index = as_index(content, path)
    listing = Listing(
        root,
        [_pick(image, "id", "file_name", "width", "height") for image in index.images],
        [_coco_annotation(each, round_boxes, masks) for each in index.annotations],
        [_pick(category, "id", "name", "supercategory") for category in index.categories],
        {"annotations": path},
        notes=notes,
    )
    if captions is not None:
        listing = _with_captions(listing, existing_file(captions, "--captions"))
    if image_list is None:
        return listing
    list_path = existing_file(image_list, "--image-list")
    listing = replace(listing, sources={**listing.sources, "image_list": list_path})
    return listing.only(_listed(listing.images, list_path))


def _pick(item: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: item[key] for key in keys if key in item}


def _coco_annotation(annotation: dict[str, Any], round_boxes: bool, masks: bool) -> dict[str, Any]:
    keys = ("id", "image_id", "category_id", "bbox", "area")
    kept = _pick(annotation, *keys, *(("segmentation",) if masks else ()))
    kept["iscrowd"] = int(bool(annotation.get("iscrowd")))
    x, y, width, height = kept["bbox"]
    kept.setdefault("area", width * height)
    if round_boxes:
        left, top, right, bottom = round(x), round(y), round(x + width), round(y + height)
        kept["bbox"] = [left, top, right - left, bottom - top]
    return kept


def _with_captions(listing: Listing, path: Path) -> Listing:
    content = read_json(path)
    found: dict[int | None, list[str]] = {}
    try:
        for entry in content["annotations"]:
            found.setdefault(whole(entry["image_id"]), []).append(
                " ".join(entry["caption"].split())
            )
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not COCO's captions file, whose annotations have image_id and caption"
        ) from error
    if not any(image["id"] in found for image in listing.images):
        raise InputError(f"{path}: has no caption of any of the images; name the one of this split")
    images = [
        {**image, "captions": found[image["id"]]} if image["id"] in found else image
        for image in listing.images
    ]
    return replace(listing, images=images, sources={**listing.sources, "captions": path})


def _listed(images: list[dict[str, Any]], list_path: Path) -> list[dict[str, Any]]:
    wanted = {PurePath(line).name for line in read_list(list_path)}
    found = [image for image in images if PurePath(image["file_name"]).name in wanted]
    unknown = sorted(wanted - {PurePath(image["file_name"]).name for image in found})
    if unknown:
        raise InputError(
            f"{list_path}: {len(unknown)} of its {len(wanted)} images, such as {unknown[0]}, are"
            " not in the annotations"
        )
    return found
