"""Boxes on disk: COCO results in `boxes.json`, what made them in `boxes.meta.json` beside it.

A record is {"image_id", "category_id", "bbox": [x, y, width, height], "score"}, in image pixels.
Boxes that a phrase refers to have its "phrase_id" too, and boxes that were drawn around a mask may
have it as "segmentation", in COCO's run lengths at the size of the image.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .atomic import sha256, write_bytes
from .json_files import encode_json, read_json, write_json
from .rle import is_rle

Record = dict[str, Any]

log = logging.getLogger("bbr")

_PIXEL_DECIMALS = 3
_SCORE_DIGITS = 7  # what a float32 holds


def write_boxes(
    path: Path | str,
    records: Iterable[Record],
    provenance: dict[str, Any],
    skipped: Sequence[dict[str, Any]] = (),
    without: Sequence[dict[str, Any]] | None = None,
) -> None:
    """Write `boxes.json` and `boxes.meta.json`.

    The meta file, which holds the digest of the boxes, goes first, so that boxes which exist have
    their meta file. A run killed in between leaves no boxes, or old boxes beside a new digest;
    `read_boxes` refuses the latter, and running again mends both.

    Args:
        path: where the boxes go; its ending must be `.json`.
        records: COCO results; `category_id` may be left out and is then 1 (class-agnostic).
        provenance: as `provenance.provenance` returns it.
        skipped: [{"image_id", "reason"}], images that could not be read.
        without: [{"image_id", "file_name"}], images without a box, where that is to be told.

    Raises:
        InputError: a box is not finite or has a negative size, or `path` cannot be written.
    """
    path = _boxes_path(path)
    rounded = [_rounded(record) for record in _checked(records, path)]
    content = encode_json(rounded)
    meta = {
        "provenance": provenance,
        "skipped": list(skipped),
        "boxes_sha256": hashlib.sha256(content).hexdigest(),
        **({} if without is None else {"without_boxes": list(without)}),
    }
    write_json(meta_path(path), meta)
    write_bytes(path, content)
    images = len({record["image_id"] for record in rounded})
    log.info("%s: %d boxes in %d images", path, len(rounded), images)


def read_boxes(path: Path | str) -> list[Record]:
    """The records of a boxes file, ours or anyone's COCO results.

    Raises:
        InputError: the file is missing or not COCO results, a box is not finite or has a negative
            size, or the file is not the one that the meta file beside it describes.
    """
    path = _boxes_path(path)
    records = read_json(path)
    if not isinstance(records, list):
        raise InputError(f"{path}: not COCO results, which are a list of boxes")
    digest = read_meta(path)["boxes_sha256"]
    if digest is not None and digest != sha256(path):
        raise InputError(
            f"{path}: not the boxes that {meta_path(path).name} describes; make them again, or "
            "delete the meta file if the boxes come from elsewhere"
        )
    return _checked(records, path)


def read_meta(path: Path | str) -> dict[str, Any]:
    """What lies beside a boxes file: "provenance", "skipped" and "boxes_sha256".

    Boxes made elsewhere have no meta file; they have provenance None and nothing skipped.

    Raises:
        InputError: there is a meta file that is not one of ours.
    """
    beside = meta_path(path)
    meta = read_json(beside) if beside.exists() else {}
    if not isinstance(meta, dict):
        raise InputError(f"{beside}: not a meta file of boxes; make the boxes again")
    return {"provenance": None, "skipped": [], "boxes_sha256": None, **meta}


def meta_path(path: Path | str) -> Path:
    """`boxes.meta.json` of `boxes.json`."""
    return Path(path).with_suffix(".meta.json")


def boxes_by_image(records: Iterable[Record]) -> dict[int, list[Record]]:
    """Records grouped by image id, in the order they come in."""
    grouped: dict[int, list[Record]] = {}
    for record in records:
        grouped.setdefault(record["image_id"], []).append(record)
    return grouped


def top_boxes(records: Iterable[Record]) -> dict[int, Record]:
    """The best-scoring record of each image; the first of them on ties."""
    best: dict[int, Record] = {}
    for record in records:
        held = best.get(record["image_id"])
        if held is None or record["score"] > held["score"]:
            best[record["image_id"]] = record
    return best


def require_known_images(
    records: Iterable[Record], image_ids: Collection[int], source: Path | str
) -> None:
    """Check that boxes belong to an index.

    Raises:
        InputError: there are boxes of images whose id is not among `image_ids`.
    """
    unknown = sorted({record["image_id"] for record in records}.difference(image_ids))
    if unknown:
        raise InputError(
            f"{source}: boxes of {len(unknown)} image ids that the index does not have (first: "
            f"{', '.join(map(str, unknown[:3]))}); use the index that the boxes were made from"
        )


def box_xyxy(record: Record) -> list[float]:
    """The record's box as [x1, y1, x2, y2]."""
    x, y, width, height = record["bbox"]
    return [x, y, x + width, y + height]


def _boxes_path(path: Path | str) -> Path:
    path = Path(path)
    if path.suffix != ".json" or path.name.endswith(".meta.json"):
        raise InputError(f"{path}: boxes are kept in a file that ends in .json")
    return path


def _checked(records: Iterable[Record], path: Path) -> list[Record]:
    records = list(records)
    for position, record in enumerate(records):
        problem = _problem(record)
        if problem is not None:
            raise InputError(f"{path}: box {position} {problem}")
    return records


def _problem(record: Any) -> str | None:
    """What is wrong with a record, or None."""
    if not isinstance(record, dict):
        return "is not an object with image_id, bbox and score"
    missing = [key for key in ("image_id", "bbox", "score") if key not in record]
    if missing:
        return f"has no {missing[0]}"
    if type(record["image_id"]) is not int:
        return f"has image_id {record['image_id']!r}, which is not an integer"
    if type(record.get("phrase_id", 0)) is not int:
        return f"has phrase_id {record['phrase_id']!r}, which is not an integer"
    box = record["bbox"]
    if not isinstance(box, list | tuple) or len(box) != 4:
        return f"of image {record['image_id']} is not [x, y, width, height]"
    try:
        finite = all(map(math.isfinite, (*box, record["score"])))
    except TypeError:
        finite = False
    if not finite:
        return f"of image {record['image_id']} holds something that is not a finite number"
    if box[2] < 0 or box[3] < 0:
        return f"of image {record['image_id']} has a negative size: {list(box)}"
    return None


def _rounded(record: Record) -> Record:
    """The record in fixed key order, to a thousandth of a pixel and a float32's digits.

    Rounding keeps files small and hides the last-digit differences between machines; adding 0.0
    turns -0.0 into 0.0.
    """
    phrase = {"phrase_id": record["phrase_id"]} if "phrase_id" in record else {}
    mask = {"segmentation": record["segmentation"]} if is_rle(record.get("segmentation")) else {}
    return {
        "image_id": record["image_id"],
        **phrase,
        "category_id": record.get("category_id", 1),
        "bbox": [round(float(value), _PIXEL_DECIMALS) + 0.0 for value in record["bbox"]],
        "score": float(f"{record['score']:.{_SCORE_DIGITS}g}") + 0.0,
        **mask,
    }
