"""The layout of PASCAL VOC."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path, PurePath
from typing import Any

from ...errors import InputError
from .listing import Listing, existing_folder

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
    not be numbers (VOC2012's are not). Difficult and truncated objects are included, with both
    flags on the annotation. VOC counts pixels from 1 and both ends in, so xmin and ymin lose one
    and a box 1..W covers 0..W. Categories are VOC's 20 classes, then any others by name.

    Args:
        source: JPEGImages, the folder that holds it (VOC2007), or one or two levels above
            (VOCdevkit or its parent), where it must be the only one.
        image_set: `trainval`, `test`, ...

    Raises:
        InputError: a piece of the layout is missing or damaged.
    """
    root = _find_voc(existing_folder(source))
    image_set_file = _voc_image_set(root, image_set)
    lines = image_set_file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    # Lists of one class ("dog_trainval") have a label after the stem; repeats count once.
    stems = list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
    if not stems:
        raise InputError(f"{image_set_file}: lists no images")
    if not (root / "Annotations").is_dir():
        raise InputError(f"{root}: has no Annotations folder; without boxes use --format folder")

    images, annotations, names = [], [], []
    for image_id, stem in enumerate(stems, 1):
        image, objects = _read_voc_xml(root / "Annotations" / f"{stem}.xml", stem)
        images.append({"id": image_id, **image})
        for name, annotation in objects:
            names.append(name)
            annotations.append({"id": len(names), "image_id": image_id, **annotation})
    classes = [*VOC_CLASSES, *sorted(set(names) - set(VOC_CLASSES))]
    category_ids = {name: i for i, name in enumerate(classes, 1)}
    for name, annotation in zip(names, annotations, strict=True):
        annotation["category_id"] = category_ids[name]
    categories = [{"id": i, "name": name} for name, i in category_ids.items()]
    sources = {"image_set": image_set_file}
    return Listing(root / "JPEGImages", images, annotations, categories, sources)


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


def _read_voc_xml(path: Path, stem: str) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """file_name (and width, height) of the image, and its objects: class name, annotation."""
    try:
        tree = ElementTree.parse(path).getroot()
        objects = [_voc_object(node) for node in tree.iterfind("object")]
        width, height = (int(tree.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, but the image set names {stem}") from None
    except (ElementTree.ParseError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise InputError(f"{path}: not a VOC annotation ({error})") from error
    name = tree.findtext("filename") or ""
    # Usually the stem with .jpg; some datasets in this layout hold other formats.
    image: dict[str, Any] = {"file_name": name if PurePath(name).stem == stem else f"{stem}.jpg"}
    # Some annotation tools write 0 for "unknown".
    if width > 0 and height > 0:
        image |= {"width": width, "height": height}
    return image, objects


def _voc_object(node: ElementTree.Element) -> tuple[str, dict[str, Any]]:
    box = {side: _number(node.findtext(f"bndbox/{side}")) for side in _VOC_SIDES}
    x, y = box["xmin"] - 1, box["ymin"] - 1
    width, height = box["xmax"] - x, box["ymax"] - y
    if width < 0 or height < 0:
        raise ValueError(f"a box of negative size, {width} x {height}")
    return _text(node.findtext("name")).strip(), {
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
        "difficult": int(node.findtext("difficult") or 0),
        "truncated": int(node.findtext("truncated") or 0),
    }


def _text(found: str | None) -> str:
    if found is None:
        raise ValueError("an object lacks its name or a side of its box")
    return found


def _number(text: str | None) -> int | float:
    """A whole number where it is one; some datasets in this layout have fractions."""
    value = float(_text(text))
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return int(value) if value.is_integer() else value
