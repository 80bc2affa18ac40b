"""The layout of PASCAL VOC."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path, PurePath
from typing import Any

from ...errors import InputError
from .file_names import FileNames
from .listing import Listing, existing_folder, read_list
from .numbers import SIZE_MEASURED, number, positive_int

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_VOC_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(source: Path | str, image_set: str) -> Listing:
    """A dataset in the layout of PASCAL VOC.

    Images are those of `ImageSets/Main/{image_set}.txt`, numbered from 1 in its order: stems need
    not be numbers (VOC2012's are not), and may have blanks. The image of a stem is found whatever
    its ending. Objects without a usable box or name are left out and noted; images without a
    readable annotation are unusable. Difficult and truncated objects are included, with both flags
    on the annotation. VOC counts pixels from 1 and both ends in, so xmin and ymin lose one and a
    box 1..W covers 0..W. Categories are VOC's 20 classes, then any others by name.

    Args:
        source: JPEGImages, the folder that holds it (VOC2007), or one or two levels above
            (VOCdevkit or its parent), where it must be the only one.
        image_set: `trainval`, `test`, ...

    Raises:
        InputError: a piece of the layout is missing or damaged.
    """
    root = _find_voc(existing_folder(source))
    image_set_file = _voc_image_set(root, image_set)
    if not (root / "Annotations").is_dir():
        raise InputError(f"{root}: has no Annotations folder; without boxes use --format folder")
    # Lists of one class ("dog_trainval") have a label after the stem; repeats count once.
    xml_files = FileNames(root / "Annotations")
    lines = dict.fromkeys(read_list(image_set_file))
    stems = dict.fromkeys(_stem_and_annotation(line, xml_files) for line in lines)

    images, annotations, names = [], [], []
    files, notes, unusable = FileNames(root / "JPEGImages"), [], []
    for image_id, (stem, xml) in enumerate(stems, 1):
        try:
            image, objects, noted = _read_voc_xml(root / "Annotations" / xml)
        except InputError as error:
            unusable.append({"file_name": stem, "reason": str(error)})
            continue
        image["file_name"] = _image_file(files, stem, image["file_name"])
        images.append({"id": image_id, **image})
        notes += [{"image_id": image_id, "what": what} for what in noted]
        for name, annotation in objects:
            names.append(name)
            annotations.append({"id": len(names), "image_id": image_id, **annotation})
    categories = _set_categories(names, annotations)
    folder, sources = root / "JPEGImages", {"image_set": image_set_file}
    return Listing(folder, images, annotations, categories, sources, notes=notes, unusable=unusable)


def _set_categories(names: list[str], annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Number the classes, and put the numbers into the annotations of these names."""
    classes = [*VOC_CLASSES, *sorted(set(names) - set(VOC_CLASSES))]
    category_ids = {name: i for i, name in enumerate(classes, 1)}
    for name, annotation in zip(names, annotations, strict=True):
        annotation["category_id"] = category_ids[name]
    return [{"id": i, "name": name} for name, i in category_ids.items()]


def _stem_and_annotation(line: str, files: FileNames) -> tuple[str, str]:
    """The stem that a line of a list means, and its annotation's file below Annotations."""
    stem = line
    for stem in (line, line.rsplit(None, 1)[0], os.path.splitext(line)[0], line.split()[0]):
        found = files.find(f"{stem}.xml")
        if found is not None:
            return stem, found
    return stem, f"{stem}.xml"


def _image_file(files: FileNames, stem: str, stated: str) -> str:
    """The image of a stem: as its annotation says, where that has the stem, or whatever is there.

    Where nothing is, the name that VOC itself would have.
    """
    stated = stated.replace("\\", "/").rpartition("/")[2]
    named = f"{stem.rpartition('/')[0]}/{stated}".lstrip("/")
    candidates = [named] if PurePath(named).stem == PurePath(stem).name else []
    for name in (*candidates, f"{stem}.jpg"):
        if (files.root / name).is_file():
            return name
    return files.find_stem(stem) or (named if candidates and "." in named else f"{stem}.jpg")


def _find_voc(source: Path) -> Path:
    """The one folder at or below `source` that holds JPEGImages."""
    if source.name == "JPEGImages":
        return source.parent
    if (source / "JPEGImages").is_dir():
        return source
    found = sorted((*source.glob("VOC*/JPEGImages"), *source.glob("VOCdevkit/VOC*/JPEGImages")))
    if not found:
        raise InputError(f"{source}: no JPEGImages folder in it, nor in VOC* or VOCdevkit/VOC*")
    if len(found) > 1:
        names = ", ".join(folder.parent.relative_to(source).as_posix() for folder in found)
        raise InputError(f"{source}: holds several VOC datasets ({names}); give one of them")
    return found[0].parent


def _voc_image_set(root: Path, image_set: str) -> Path:
    folder = root / "ImageSets" / "Main"
    path = folder / f"{image_set}.txt"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.txt"))) or "none"
        raise InputError(f"{path}: no such file; image sets in that folder: {known}")
    return path


def _read_voc_xml(
    path: Path,
) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]], list[str]]:
    """file_name (and width, height) of the image; objects: class name, annotation; and notes.

    Raises:
        InputError: no such file, or not XML.
    """
    try:
        tree = ElementTree.parse(path).getroot()
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path}: not a VOC annotation ({error})") from error
    image: dict[str, Any] = {"file_name": (tree.findtext("filename") or "").strip()}
    objects: list[tuple[str, dict[str, Any]]] = []
    notes: list[str] = []
    for node in tree.iterfind("object"):
        try:
            objects.append(_voc_object(node, notes))
        except ValueError as error:
            notes.append(f"object left out: {error}")
    # Some annotation tools write 0 for "unknown", or nothing at all.
    size = [positive_int(tree.findtext(f"size/{side}")) for side in ("width", "height")]
    if None in size:
        notes.append(SIZE_MEASURED)
    else:
        image["width"], image["height"] = size
    return image, objects, notes


def _voc_object(node: ElementTree.Element, notes: list[str]) -> tuple[str, dict[str, Any]]:
    """Its class and its annotation.

    Raises:
        ValueError: it has no usable box or name; says which.
    """
    if node.find("bndbox") is None:
        raise ValueError("no bndbox")
    box = {side: _number(node.findtext(f"bndbox/{side}")) for side in _VOC_SIDES}
    x, y = box["xmin"] - 1, box["ymin"] - 1
    width, height = box["xmax"] - x, box["ymax"] - y
    if width < 0 or height < 0:
        raise ValueError("a box of negative size")
    name = (node.findtext("name") or "").strip()
    if not name:
        raise ValueError("no name")
    flags = {}
    for flag in ("difficult", "truncated"):
        value = number(node.findtext(flag) or 0)
        if value is None:
            notes.append(f"{flag} is no number, taken for 0")
        flags[flag] = int(bool(value))
    annotation = {"bbox": [x, y, width, height], "area": width * height, "iscrowd": 0, **flags}
    return name, annotation


def _number(text: str | None) -> int | float:
    """A whole number where it is one; some datasets in this layout have fractions."""
    value = number(text)
    if value is None:
        raise ValueError("a side of its box is missing or no number")
    return value
