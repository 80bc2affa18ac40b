"""Boxes as files with which labelling and training tools go on: COCO, FiftyOne, YOLO, labelme."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import yaml

from ..data.index import Index
from ..errors import InputError
from ..storage.atomic import write_bytes
from ..storage.boxes_json import Record, boxes_by_image
from ..storage.json_files import encode_json
from ..storage.rle import decode_mask, is_rle

UNNAMED = "object"


@dataclass(frozen=True)
class Labelled:
    """Boxes of an index's images, and names of their categories.

    Attributes:
        boxes: COCO results, xywh in pixels.
        names: of all categories by category_id; at least one.
    """

    index: Index
    boxes: list[Record]
    names: dict[int, str]

    def by_image(self) -> Iterator[tuple[dict[str, Any], list[Record]]]:
        """Every image with its boxes, which may be none."""
        found = boxes_by_image(self.boxes)
        for image in self.index.images:
            yield image, found.get(image["id"], [])

    def of_images_with_boxes(self) -> Labelled:
        """The same without the other images: that they have no box does not say that they hold
        nothing, which a network that is trained on them would learn."""
        having = {box["image_id"] for box in self.boxes}
        images = [image for image in self.index.images if image["id"] in having]
        return replace(self, index=replace(self.index, images=images))

    def photograph(self, image: dict[str, Any]) -> str:
        """The absolute path of an image's file."""
        return os.path.realpath(self.index.image_path(image))


def labelled(
    index: Index, boxes: list[Record], given: dict[int, str], clusters: int | None = None
) -> Labelled:
    """Boxes whose categories all have names. Categories of one name become one, the first of them.

    One category without a name is "object"; of several, each has its number too. Of several
    clusters, those without a name are "cluster 1" and so on.

    Args:
        given: names by category_id.
        clusters: categories are 1 to this, whether they have boxes or not; None: those that a box
            has or a name is given to.
    """
    found = sorted({box["category_id"] for box in boxes} | given.keys()) or [1]
    ids = found if clusters is None else range(1, clusters + 1)
    unnamed = [i for i in ids if not given.get(i)]
    if clusters is not None and clusters > 1:
        other = {i: f"cluster {i}" for i in unnamed}
    else:
        other = {i: UNNAMED if len(unnamed) == 1 else f"{UNNAMED} {i}" for i in unnamed}
    names = {i: other.get(i) or given[i] for i in ids}
    first = {name: i for i, name in reversed(names.items())}
    merged = [{**box, "category_id": first[names[box["category_id"]]]} for box in boxes]
    return Labelled(index, merged, {i: name for i, name in names.items() if first[name] == i})


def _own_names(labelled: Labelled) -> dict[int, str]:
    """What each photograph is called, by image id: the index's name, relative and without `..`.

    Tools join such a name with folders of their own.

    Raises:
        InputError: two photographs would have one name.
    """
    names: dict[int, str] = {}
    photographs: dict[str, str] = {}
    for image in labelled.index.images:
        parts = PurePosixPath(image["file_name"]).parts
        name = "/".join(part for part in parts if part not in ("..", "/"))
        own = labelled.photograph(image)
        if photographs.setdefault(name, own) != own:
            raise InputError(f"{photographs[name]} and {own} would both be {name}; rename one")
        names[image["id"]] = name
    return names


def _link_photographs(labelled: Labelled, folder: Path) -> dict[int, str]:
    """Link every photograph as NAME in the folder; the names by image id."""
    names = _own_names(labelled)
    for image in labelled.index.images:
        _link(folder / names[image["id"]], labelled.photograph(image))
    return names


def _link(link: Path, target: str) -> None:
    """A hard link where the two lie on one disk, since some tools refuse links that lead elsewhere.

    Raises:
        InputError: another file has the link's place.
    """
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()  # of an export before the photographs were moved, or by an older version
    if link.exists() and os.path.samefile(link, target):
        return
    try:
        os.link(target, link)
    except FileExistsError:
        raise InputError(f"{link}: is not {target}; remove it, or name another folder") from None
    except OSError:  # on another disk, or one without such links
        link.symlink_to(target)


def write_export(layout: str, labelled: Labelled, folder: Path) -> None:
    """Write the files of one of `FORMATS` into a folder; those that it had before stay.

    Images without a box are there for labelme alone, in which people draw boxes.

    Raises:
        InputError: two photographs would have one file, or other files have their places.
    """
    shown = labelled if layout == "labelme" else labelled.of_images_with_boxes()
    for name, content in FORMATS[layout](shown, folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / name, content)


def _coco(
    labelled: Labelled, folder: Path, file: str = "annotations.json", photographs: str = "images"
) -> Iterator[tuple[str, bytes]]:
    names = _link_photographs(labelled, folder / photographs)
    images = []
    for image in labelled.index.images:
        height, width = labelled.index.image_size(image)
        name = names[image["id"]]
        images.append(
            {"id": image["id"], "file_name": name, "width": width, "height": height, "license": 1}
        )
    annotations = [
        {
            "id": i,
            "image_id": box["image_id"],
            "category_id": box["category_id"],
            "bbox": box["bbox"],
            **_extent(box),
            "iscrowd": 0,
            "score": box["score"],
        }
        for i, box in enumerate(labelled.boxes, 1)
    ]
    content = {
        "info": {"description": "boxes found without labels", "version": "1.0"},
        "licenses": [{"id": 1, "name": "that of the photographs", "url": ""}],
        "categories": [
            {"id": i, "name": name, "supercategory": UNNAMED} for i, name in labelled.names.items()
        ],
        "images": images,
        "annotations": annotations,
    }
    yield file, encode_json(content)


def _extent(box: Record) -> dict[str, Any]:
    """Area and polygons: of the box's mask, or of the box itself.

    Polygons, since tools take run lengths for crowds.

    Holes of the mask are filled, since a list of polygons has none.
    """
    if is_rle(box.get("segmentation")):
        # Contours go through the middles of pixels, polygons along their edges: of pixels doubled,
        # the edge beside a middle is (c + 1) // 2.
        mask = decode_mask(box["segmentation"])
        doubled = mask.repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8)
        contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        outlines = [((contour + 1) // 2).ravel().tolist() for contour in contours]
        return {"area": int(np.count_nonzero(mask)), "segmentation": outlines}
    x, y, width, height = box["bbox"]
    outline = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {"area": width * height, "segmentation": [outline]}


def _yolo(labelled: Labelled, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Ultralytics' layout; it finds the labels of images/NAME in labels/NAME.txt.

    So the photographs are linked as images/NAME, under their own relative names.
    """
    classes = {category: i for i, category in enumerate(labelled.names)}
    listed = []
    names = _link_photographs(labelled, folder / "images")
    files = _unique_stems(names, ".txt")
    for image, boxes in labelled.by_image():
        height, width = labelled.index.image_size(image)
        listed.append(f"./images/{names[image['id']]}\n")
        lines = []
        for box in boxes:
            x, y, w, h = box["bbox"]
            values = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
            numbers = " ".join(f"{min(max(value, 0), 1):.6f}" for value in values)
            lines.append(f"{classes[box['category_id']]} {numbers}\n")
        yield f"labels/{files[image['id']]}", "".join(lines).encode()
    yield "images.txt", "".join(listed).encode()
    data = {
        "path": os.path.realpath(folder),
        "train": "images.txt",
        "val": "images.txt",
        "names": dict(enumerate(labelled.names.values())),
    }
    yield "data.yaml", yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()


def _labelme(labelled: Labelled, folder: Path) -> Iterator[tuple[str, bytes]]:
    names = _unique_stems(_own_names(labelled), ".json")
    for image, boxes in labelled.by_image():
        height, width = labelled.index.image_size(image)
        name = names[image["id"]]
        start = os.path.join(os.path.realpath(folder), os.path.dirname(name))
        content: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [_shape(box, labelled.names[box["category_id"]]) for box in boxes],
            "imagePath": os.path.relpath(labelled.photograph(image), start),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        yield name, (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def _shape(box: Record, label: str) -> dict[str, Any]:
    x, y, width, height = box["bbox"]
    return {
        "label": label,
        "points": [[x, y], [x + width, y + height]],
        "group_id": None,
        "description": f"score {box['score']:g}",
        "shape_type": "rectangle",
        "flags": {},
        "mask": None,
    }


def _unique_stems(names: dict[int, str], ending: str) -> dict[int, str]:
    """The file of each image: its own name with another ending.

    Raises:
        InputError: a.jpg and a.png would have the same.
    """
    owners: dict[str, str] = {}
    found = {}
    for image_id, own in names.items():
        name = PurePosixPath(own).with_suffix(ending).as_posix()
        if name in owners:
            raise InputError(
                f"{owners[name]} and {own} would both have {name}; rename one of them, or export to"
                " COCO"
            )
        owners[name] = own
        found[image_id] = name
    return found


# FiftyOne's COCODetectionDataset differs from COCO by names alone.
_fiftyone = partial(_coco, file="labels.json", photographs="data")
FORMATS: dict[str, Callable[[Labelled, Path], Iterator[tuple[str, bytes]]]] = {
    "coco": _coco,
    "yolo": _yolo,
    "labelme": _labelme,
    "fiftyone": _fiftyone,
}
