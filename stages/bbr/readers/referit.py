"""ReferIt (RefCLEF): expressions for regions of ImageCLEF photographs.

The layout is that of the metadata that Hu et al. 2016 (Natural Language Object Retrieval) make of
ReferItGame, which later work shares: `referit_query_dict.json`, `referit_imcrop_bbox_dict.json` and
lists of images, one a line. A region `25_1` is the first of image 25.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from ..cli import existing_file
from ..errors import InputError
from ..files import read_json
from .listing import Listing, existing_folder, read_list
from .phrase_annotations import PhraseAnnotations

_QUERIES, _BOXES = "referit_query_dict.json", "referit_imcrop_bbox_dict.json"


def read_referit(
    annotations: Path | str, source: Path | str, image_list: Path | str | None = None
) -> Listing:
    """One phrase id for each region that has an expression and a box.

    Args:
        annotations: the folder of the two JSON files.
        source: the folder of the photographs, {number}.jpg.
        image_list: a text file of image numbers or file names, one a line, such as
            `referit_test_imlist.txt`; only these images are taken, in its order.

    Raises:
        InputError: a file is missing or malformed, or the list names unknown images.
    """
    root, folder = existing_folder(source), Path(annotations).expanduser()
    sources = {
        "queries": existing_file(folder / _QUERIES, "--annotations"),
        "boxes": existing_file(folder / _BOXES, "--annotations"),
    }
    queries, boxes = (_by_region(path) for path in sources.values())
    regions: dict[int, list[int]] = {}
    for image_id, region in queries:
        regions.setdefault(image_id, []).append(region)
    wanted = sorted(regions)
    if image_list is not None:
        sources["image_list"] = existing_file(image_list, "--image-list")
        wanted = _wanted(sources["image_list"])
    found = PhraseAnnotations()
    for image_id in wanted:
        for region in sorted(regions.get(image_id, [])):
            key = (image_id, region)
            _add_region(found, key, queries[key], boxes.get(key), sources["boxes"])
    if not found.annotations:
        raise InputError(f"{folder}: none of the {len(wanted)} images has a region with a box")
    images = [{"id": image_id, "file_name": f"{image_id}.jpg"} for image_id in wanted]
    return Listing(root, images, found.annotations, [], sources, found.left_out)


def _by_region(path: Path) -> dict[tuple[int, int], Any]:
    content = read_json(path)
    try:
        keys = [PurePath(name).stem.split("_") for name in content]
        return {
            (int(image), int(region)): value
            for (image, region), value in zip(keys, content.values(), strict=True)
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not an object whose keys are regions such as 25_1 of image 25"
        ) from error


def _wanted(path: Path) -> list[int]:
    stems = [PurePath(line).stem for line in read_list(path)]
    wrong = [stem for stem in stems if not stem.isdecimal()]
    if wrong:
        raise InputError(f"{path}: {wrong[0]} is not the number of an image")
    return list(dict.fromkeys(map(int, stems)))


def _add_region(
    found: PhraseAnnotations,
    key: tuple[int, int],
    phrases: list[str],
    corners: list[float] | None,
    path: Path,
) -> None:
    """Corners are (xmin, ymin, xmax, ymax) of pixels, 0-based and inclusive."""
    try:
        boxes = []
        if corners is not None:
            x1, y1, x2, y2 = map(float, corners)
            boxes = [[x1, y1, x2 - x1 + 1, y2 - y1 + 1]]
        found.add(*key, phrases, boxes)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: the box of region {key[0]}_{key[1]} is not 4 numbers") from error
