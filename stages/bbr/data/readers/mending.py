"""COCO files as exporters write them: what is no number is left out, and noted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import InputError
from .numbers import SIZE_MEASURED, number, positive_int, whole

_FROM_MASK = "object without a box: the box of its segmentation"


def mended(content: Any, path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The content of a COCO file with every value of its right type, and notes of what was not.

    Ids and sizes may be texts or fractions that are whole; a size that is neither is left out, to
    be measured. An annotation without a usable box gets the box of its segmentation, or is left
    out. Notes are those of `Listing.notes`.

    Raises:
        InputError: not a COCO file at all.
    """
    if not isinstance(content, dict) or "images" not in content:
        raise InputError(f"{path}: has no `images`, so it is neither an index nor a COCO file")
    notes: list[dict[str, Any]] = []
    images = []
    for image in _objects(content, "images", path):
        if isinstance(image.get("file_name"), str) and image["file_name"]:
            images.append(_mended_image(image, notes))
        else:
            notes.append({"image_id": None, "what": "image left out: no file_name"})
    known = {image["id"] for image in images if "id" in image}
    annotations = []
    for annotation in _objects(content, "annotations", path):
        image_id = whole(annotation.get("image_id"))
        image_id = image_id if image_id in known else None
        try:
            annotations.append(_mended_annotation(annotation, image_id, notes))
        except ValueError as error:
            notes.append({"image_id": image_id, "what": f"object left out: {error}"})
    content = {**content, "images": images, "annotations": annotations}
    if not isinstance(content.get("info"), dict):
        content["info"] = {}  # other people's; an index has its own
    content["info"].pop("image_root", None)
    content["categories"] = [
        category | ({} if (named := whole(category.get("id"))) is None else {"id": named})
        for category in _objects(content, "categories", path)
    ]
    return content, notes


def _objects(content: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    items = content.get(key) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InputError(f"{path}: `{key}` is not a list of objects, as COCO format has it")
    return items


def _mended_image(image: dict[str, Any], notes: list[dict[str, Any]]) -> dict[str, Any]:
    image = dict(image)
    if (image_id := whole(image.get("id"))) is not None:
        image["id"] = image_id
    if "width" not in image and "height" not in image:
        return image
    size = [positive_int(image.pop(side, None)) for side in ("width", "height")]
    if None in size:
        notes.append({"image_id": image_id, "what": SIZE_MEASURED})
        return image
    return {**image, "width": size[0], "height": size[1]}


def _mended_annotation(
    annotation: dict[str, Any], image_id: int | None, notes: list[dict[str, Any]]
) -> dict[str, Any]:
    """The annotation with numbers for numbers.

    Raises:
        ValueError: it is of no use; says why.
    """
    if image_id is None:
        raise ValueError("of an image that is not listed")
    try:
        box = _box(annotation.get("bbox"))
    except ValueError:
        masked = _box_of_mask(annotation.get("segmentation"))
        if masked is None:
            raise
        box = masked
        notes.append({"image_id": image_id, "what": _FROM_MASK})
    kept = {**annotation, "image_id": image_id, "bbox": box}
    for key, read in (("id", whole), ("category_id", whole), ("area", number)):
        if key in kept and (value := read(kept.pop(key))) is not None:
            kept[key] = value
    return {**kept, "iscrowd": int(bool(number(annotation.get("iscrowd") or 0)))}


def _box(bbox: Any) -> list[int | float]:
    if bbox is None or bbox == []:
        raise ValueError("no bbox")
    values = [number(value) for value in bbox] if isinstance(bbox, list) else []
    if len(values) != 4 or None in values:
        raise ValueError("a bbox that is not 4 numbers")
    box = [value for value in values if value is not None]
    if box[2] < 0 or box[3] < 0:
        raise ValueError("a box of negative size")
    return box


def _box_of_mask(segmentation: Any) -> list[int | float] | None:
    """[x, y, w, h] around polygons or run lengths; None where there are none to read."""
    if not segmentation:
        return None
    try:
        if isinstance(segmentation, dict):
            from pycocotools import mask

            height, width = segmentation["size"]
            rle = segmentation
            if isinstance(rle["counts"], list):
                rle = mask.frPyObjects(rle, height, width)
            box = [float(value) for value in mask.toBbox(rle)]
            return box if box[2] > 0 < box[3] else None
        points = [float(value) for polygon in segmentation for value in polygon]
        xs, ys = points[::2], points[1::2]
        return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
