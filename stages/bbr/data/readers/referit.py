"""ReferIt (RefCLEF): expressions for regions of ImageCLEF photographs.

Two layouts are in use. That of lichengunc/refer, which Akbari et al. and so the paper read:
`instances.json` in COCO's format and `refs(unc).p`, a pickle of regions with their sentences. And
that of Hu et al. 2016 (Natural Language Object Retrieval): `referit_query_dict.json` and
`referit_imcrop_bbox_dict.json`, in which region `25_1` is the first of image 25. Lists of images,
one number a line, are theirs in both cases.

Each expression is a phrase of its own, as WWbL and the paper's release score it; a region has one
or several.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ...command_line.cli import existing_file
from ...errors import InputError
from ...storage.json_files import read_json
from ...storage.safe_pickle import read_plain_pickle
from .listing import Listing, existing_folder, numbered_files, read_list
from .phrase_annotations import PhraseAnnotations

_QUERIES, _BOXES = "referit_query_dict.json", "referit_imcrop_bbox_dict.json"
_INSTANCES, _REFS = "instances.json", "refs(unc).p"


@dataclass(frozen=True)
class _Region:
    """A region of an image: its expressions, and its box `xywh` in pixels, if it has one."""

    expressions: list[str]
    box: list[float] | None


@dataclass(frozen=True)
class _Annotations:
    """Regions by image in the order of their numbers, and (height, width) of the images."""

    regions: dict[int, list[_Region]]
    sizes: dict[int, tuple[int, int]]
    sources: dict[str, Path]


def read_referit(
    annotations: Path | str, source: Path | str, image_list: Path | str | None = None
) -> Listing:
    """One phrase id for each expression of a region that has a box.

    Args:
        annotations: the folder of the two files of either layout.
        source: the folder of the photographs {number}.jpg, or one above it.
        image_list: a text file of image numbers or file names, one a line, such as
            `referit_test_imlist.txt`; only these images are taken, in its order, but for those
            that have no regions.

    Raises:
        InputError: a file is missing or malformed, or no image that is wanted has a region.
    """
    root, folder = existing_folder(source), Path(annotations).expanduser()
    refclef = (folder / _INSTANCES).is_file()
    read = _read_refclef(folder) if refclef else _read_metadata(folder)
    wanted, sources = sorted(read.regions), dict(read.sources)
    if image_list is not None:
        sources["image_list"] = existing_file(image_list, "--image-list")
        wanted = [i for i in _wanted(sources["image_list"]) if i in read.regions]
    found, files, images = PhraseAnnotations(), numbered_files(root), []
    for image_id in wanted:
        image = {"id": image_id, "file_name": files.get(image_id, f"{image_id}.jpg")}
        size = read.sizes.get(image_id)
        if size is not None:
            image["height"], image["width"] = size
        images.append(image)
        _add_regions(found, image_id, read.regions[image_id], size)
    if not found.annotations:
        raise InputError(f"{folder}: none of the images that are wanted has a region with a box")
    return Listing(root, images, found.annotations, [], sources, found.left_out)


def _add_regions(
    found: PhraseAnnotations, image_id: int, regions: list[_Region], size: tuple[int, int] | None
) -> None:
    phrases = (
        (text, region.box) for region in regions for text in dict.fromkeys(region.expressions)
    )
    for phrase_id, (text, box) in enumerate(phrases, 1):
        found.add(image_id, phrase_id, [text], [] if box is None else [box], size=size)


def _read_refclef(folder: Path) -> _Annotations:
    sources = {
        "instances": existing_file(folder / _INSTANCES, "--annotations"),
        "refs": existing_file(folder / _REFS, "--annotations"),
    }
    content, refs = read_json(sources["instances"]), read_plain_pickle(sources["refs"])
    try:
        sizes = {i["id"]: (int(i["height"]), int(i["width"])) for i in content["images"]}
        boxes = {a["id"]: [float(side) for side in a["bbox"]] for a in content["annotations"]}
        regions: dict[int, list[_Region]] = {}
        for ref in sorted(refs, key=lambda ref: ref["ref_id"]):
            texts = [sentence["sent"] for sentence in ref["sentences"]]
            region = _Region(texts, boxes.get(ref["ann_id"]))
            regions.setdefault(int(ref["image_id"]), []).append(region)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{folder}: {_INSTANCES} and {_REFS} are not RefCLEF's ({reason})"
        ) from error
    return _Annotations(regions, sizes, sources)


def _read_metadata(folder: Path) -> _Annotations:
    """Corners are (xmin, ymin, xmax, ymax) of pixels, 0-based and inclusive."""
    sources = {
        "queries": existing_file(folder / _QUERIES, "--annotations"),
        "boxes": existing_file(folder / _BOXES, "--annotations"),
    }
    queries, corners = (_by_region(path) for path in sources.values())
    regions: dict[int, list[_Region]] = {}
    for key in sorted(queries):
        region = _Region(queries[key], _box(corners.get(key), key, sources["boxes"]))
        regions.setdefault(key[0], []).append(region)
    return _Annotations(regions, {}, sources)


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


def _box(corners: Iterable[float] | None, key: tuple[int, int], path: Path) -> list[float] | None:
    if corners is None:
        return None
    try:
        x1, y1, x2, y2 = map(float, corners)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: the box of region {key[0]}_{key[1]} is not 4 numbers") from error
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]


def _wanted(path: Path) -> list[int]:
    stems = [PurePath(line).stem for line in read_list(path)]
    wrong = [stem for stem in stems if not stem.isdecimal()]
    if wrong:
        raise InputError(f"{path}: {wrong[0]} is not the number of an image")
    return list(dict.fromkeys(map(int, stems)))
