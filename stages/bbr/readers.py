"""Dataset layouts (VOC, COCO, a plain folder) read into one form, and their images measured."""

from __future__ import annotations

import hashlib
import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from .cli import existing_file, log, progress
from .errors import InputError
from .images import EXTENSIONS, UnreadableImage, image_size
from .index import load_index

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
_VOC_SIDES = ("xmin", "ymin", "xmax", "ymax")
_BATCH = 1024


@dataclass(frozen=True)
class Listing:
    """What a dataset says of itself, before any of its images is opened.

    Attributes:
        root: folder that the file names start from.
        images: id, file_name and, where the dataset states them, width and height in pixels.
        annotations: image_id, bbox [x, y, w, h] in pixels, category_id, area, iscrowd, ...
        categories: id and name.
        sources: files that the listing was read from, by role, for the provenance.
    """

    root: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    categories: list[dict[str, Any]] = field(default_factory=list)
    sources: dict[str, Path] = field(default_factory=dict)

    def only(self, images: Iterable[dict[str, Any]]) -> Listing:
        """The same listing with these images and their annotations alone."""
        images = list(images)
        ids = {image["id"] for image in images}
        kept = [a for a in self.annotations if a["image_id"] in ids]
        return replace(self, images=images, annotations=kept)

    def digest(self) -> str:
        """SHA-256 over the names and sizes in bytes of the image files: stands for the folder."""
        digest = hashlib.sha256()
        for image in self.images:
            path = self.root / image["file_name"]
            size = path.stat().st_size if path.is_file() else "missing"
            digest.update(_encode(image["file_name"]) + f"\0{size}\n".encode())
        return digest.hexdigest()


def read_folder(source: Path | str) -> Listing:
    """Every image below a folder, numbered from 1 in the order of their relative paths.

    An image is a file with one of `images.EXTENSIONS` in any case. Hidden files and folders
    (their name begins with a dot) and links to folders are passed over.

    Raises:
        InputError: no such folder, or it holds no image.
    """
    root = _existing_folder(source)
    names = sorted(_walk_images(root))
    if not names:
        endings = " ".join(sorted(ending[1:] for ending in EXTENSIONS))
        raise InputError(f"{root}: no images in it or below (looked for {endings})")
    return Listing(root, [{"id": i, "file_name": name} for i, name in enumerate(names, 1)])


def _walk_images(root: Path) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise error

    for folder, subfolders, names in os.walk(root, onerror=fail):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and PurePath(name).suffix.lower() in EXTENSIONS:
                yield Path(folder, name).relative_to(root).as_posix()


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
    root = _find_voc(_existing_folder(source))
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
    return node.findtext("name").strip(), {
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
        "difficult": int(node.findtext("difficult") or 0),
        "truncated": int(node.findtext("truncated") or 0),
    }


def _number(text: str | None) -> int | float:
    """A whole number where it is one; some datasets in this layout have fractions."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return int(value) if value.is_integer() else value


def read_coco(
    annotations: Path | str,
    source: Path | str,
    round_boxes: bool = False,
    image_list: Path | str | None = None,
) -> Listing:
    """A dataset in COCO's instances format; ids are its own, crowds are kept as such.

    Args:
        annotations: `instances_*.json`.
        source: the folder of the images.
        round_boxes: round the corners of boxes to integers, as the CorLoc figures published for
            COCO20k have it.
        image_list: a text file of file names, one a line (folders before a name are ignored);
            only these images are taken, in the order of `annotations`.

    Raises:
        InputError: a file is missing or malformed, or the list names unknown images.
    """
    root = _existing_folder(source)
    path = existing_file(annotations, "--annotations")
    index = load_index(path)
    listing = Listing(
        root,
        [_pick(image, "id", "file_name", "width", "height") for image in index.images],
        [_coco_annotation(annotation, round_boxes) for annotation in index.annotations],
        [_pick(category, "id", "name", "supercategory") for category in index.categories],
        {"annotations": path},
    )
    if image_list is None:
        return listing
    list_path = existing_file(image_list, "--image-list")
    listing = replace(listing, sources={**listing.sources, "image_list": list_path})
    return listing.only(_listed(listing.images, list_path))


def _pick(item: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: item[key] for key in keys if key in item}


def _coco_annotation(annotation: dict[str, Any], round_boxes: bool) -> dict[str, Any]:
    kept = _pick(annotation, "id", "image_id", "category_id", "bbox", "area")
    kept["iscrowd"] = int(bool(annotation.get("iscrowd")))
    x, y, width, height = kept["bbox"]
    kept.setdefault("area", width * height)
    if round_boxes:
        left, top, right, bottom = round(x), round(y), round(x + width), round(y + height)
        kept["bbox"] = [left, top, right - left, bottom - top]
    return kept


def _listed(images: list[dict[str, Any]], list_path: Path) -> list[dict[str, Any]]:
    lines = list_path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    wanted = {PurePath(line.strip()).name for line in lines if line.strip()}
    found = [image for image in images if PurePath(image["file_name"]).name in wanted]
    unknown = sorted(wanted - {PurePath(image["file_name"]).name for image in found})
    if unknown:
        raise InputError(
            f"{list_path}: {len(unknown)} of its {len(wanted)} images, such as {unknown[0]}, are"
            " not in the annotations"
        )
    if not found:
        raise InputError(f"{list_path}: lists no images")
    return found


def measure_images(
    listing: Listing, threads: int = 1, max_skipped: int | None = None
) -> tuple[Listing, list[dict[str, str]]]:
    """Decode every image, and leave out those that cannot be used.

    The width and height of the result are those of the decoded, upright image, in which all boxes
    are understood to lie. Where the dataset states another size, its boxes cannot be placed (the
    file was resized, or turned by an EXIF orientation that the annotator did not see): the image is
    skipped rather than evaluated against wrong boxes.

    Args:
        threads: how many images are decoded at a time.
        max_skipped: how many images may be left out; None is 1 % of them, but at least 10.

    Returns:
        The listing of the readable images, with sizes, and [{file_name, reason}] of the others.

    Raises:
        InputError: more than `max_skipped` images are unusable, or all are.
    """
    readable, skipped = [], []
    for image, size in zip(listing.images, _sizes(listing, threads), strict=True):
        try:
            readable.append(_measured(image, size))
        except UnreadableImage as error:
            name = _encode(image["file_name"]).decode("utf-8", "replace")
            skipped.append({"file_name": name, "reason": error.reason})
    _check_skipped(listing, skipped, max_skipped)
    return listing.only(readable), skipped


def _sizes(listing: Listing, threads: int) -> Iterator[tuple[int, int] | UnreadableImage]:
    """Size of each image in order, or why it has none."""
    paths = [listing.root / image["file_name"] for image in listing.images]
    with ThreadPoolExecutor(threads) as pool:
        # In batches, so that an interrupt does not wait for the whole dataset.
        batches = (pool.map(_try_size, paths[i : i + _BATCH]) for i in range(0, len(paths), _BATCH))
        sizes = (size for batch in batches for size in batch)
        yield from progress(sizes, len(paths), "reading images")


def _try_size(path: Path) -> tuple[int, int] | UnreadableImage:
    try:
        return image_size(path)
    except UnreadableImage as error:
        return error


def _measured(image: dict[str, Any], size: tuple[int, int] | UnreadableImage) -> dict[str, Any]:
    """The image's entry with its decoded size.

    Raises:
        UnreadableImage: it has none, the dataset states another, or JSON cannot hold its name.
    """
    if isinstance(size, UnreadableImage):
        raise size
    height, width = size
    stated = image.get("width", width), image.get("height", height)
    name = image["file_name"]
    if stated != (width, height):
        reason = f"annotated at {stated[0]}x{stated[1]} pixels, but decodes to {width}x{height}"
        raise UnreadableImage(name, reason)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UnreadableImage(name, "its file name is not UTF-8; rename it") from None
    return {**image, "width": width, "height": height}


def _check_skipped(
    listing: Listing, skipped: list[dict[str, str]], max_skipped: int | None
) -> None:
    if not skipped:
        return
    total = len(listing.images)
    allowed = max(10, total // 100) if max_skipped is None else max_skipped
    first = f"the first is {skipped[0]['file_name']}: {skipped[0]['reason']}"
    if len(skipped) == total:
        raise InputError(f"{listing.root}: none of {total} images can be used; {first}")
    if len(skipped) > allowed:
        raise InputError(
            f"{listing.root}: {len(skipped)} of {total} images cannot be used, more than"
            f" --max-skipped {allowed}; {first}"
        )
    log.info("skipped %d of %d images; %s", len(skipped), total, first)


def _existing_folder(path: Path | str) -> Path:
    path = Path(os.path.expanduser(path))
    if not path.is_dir():
        raise InputError(f"--source {path}: no such folder")
    return path


def _encode(name: str) -> bytes:
    """UTF-8, also of names that are not Unicode text (what `os.walk` makes of foreign bytes)."""
    return name.encode("utf-8", "surrogatepass")
