"""The index of a dataset: its images and their ground-truth boxes, in COCO format."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..options import option
from ..storage.json_files import read_json, write_json

# Beyond any image, and well inside the range of int32 pixel coordinates.
_FARTHEST_PIXEL = 1e9


@dataclass(frozen=True)
class Index:
    """An `index.json` in memory. Treat it as read-only.

    Attributes:
        images: dictionaries with id, file_name and, where known, width and height in pixels, and
            the crc32 of the file.
        annotations: dictionaries with image_id, bbox [x, y, w, h] in pixels, category_id, iscrowd.
        categories: dictionaries with id and name.
        info: provenance, image_root, skipped.
        path: the file it was read from or is to be written to.
    """

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    info: dict[str, Any]
    path: Path

    @property
    def image_root(self) -> Path:
        """The folder that file names start from: info.image_root, relative to the index's own."""
        return self.path.parent / os.path.expanduser(self.info.get("image_root", ""))

    @property
    def max_side(self) -> int | None:
        """Longer side in pixels to which images are shrunk before f sees them; None: of none."""
        side = self.info.get("max_side")
        return side if type(side) is int and side > 0 else None

    def image_root_from(self, folder: Path) -> str:
        """What info.image_root has to say in an index of the same images that lies in `folder`."""
        root = self.info.get("image_root", "")
        if os.path.isabs(os.path.expanduser(root)):
            return root
        return os.path.relpath(self.image_root, folder)

    def image_path(self, image: dict[str, Any]) -> Path:
        """Where the file of one of `images` lies."""
        return self.image_root / image["file_name"]

    def image_size(self, image: dict[str, Any]) -> tuple[int, int]:
        """(height, width) in pixels of one of `images`.

        Raises:
            InputError: the index does not say.
        """
        try:
            return image["height"], image["width"]
        except KeyError:
            raise InputError(
                f"{self.path}: image {image['id']} has no width and height; index it with"
                " index_dataset.py"
            ) from None

    def boxes_xyxy(self, image_id: int) -> np.ndarray:
        """Ground-truth boxes of an image, crowds left out.

        Returns:
            (n, 4) float64 [x1, y1, x2, y2] in pixels, in the order of the annotations; n may be 0.

        Raises:
            KeyError: no image has this id.
        """
        xywh = np.array(self._xywh[image_id], dtype=np.float64).reshape(-1, 4)
        return np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), axis=1)

    @cached_property
    def _xywh(self) -> dict[int, list[list[float]]]:
        grouped: dict[int, list[list[float]]] = {image["id"]: [] for image in self.images}
        for annotation in self.annotations:
            if not annotation.get("iscrowd"):
                grouped[annotation["image_id"]].append(annotation["bbox"])
        return grouped

    def shard(self, i: int, n: int) -> list[dict[str, Any]]:
        """Images of shard i of n, i counted from 0: contiguous, disjoint and together complete.

        Sizes differ by at most one; with more shards than images some are empty.
        """
        count = len(self.images)
        return self.images[count * i // n : count * (i + 1) // n]


def parse_shard(text: str) -> tuple[int, int]:
    """An argparse type: "i/n" to (i, n), with i from 0 to n - 1.

    Raises:
        argparse.ArgumentTypeError: not of that form or out of range.
    """
    try:
        i, n = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form i/n, such as 0/4") from None
    if not 0 <= i < n:
        raise argparse.ArgumentTypeError(f"{text}: i counts from 0 and stays below n, such as 0/4")
    return i, n


@dataclass(frozen=True)
class ShardOptions:
    """Which part of an index."""

    shard: tuple[int, int] = option(
        (0, 1), "this part of the images only, i from 0 [0/1]", parse=parse_shard, metavar="i/n"
    )


def save_index(index: Index) -> None:
    """Write an index to its `path`, atomically."""
    write_json(
        index.path,
        {
            "info": index.info,
            "categories": index.categories,
            "images": index.images,
            "annotations": index.annotations,
        },
    )


def load_index(path: Path | str) -> Index:
    """Read and check an index, ours or any COCO instances file.

    `annotations`, `categories` and `info` may be absent, and so may the sizes of the images.

    Raises:
        InputError: missing, not JSON, or not an index that the stages can rely on.
    """
    path = Path(os.path.expanduser(path))
    return as_index(read_json(path), path)


def as_index(content: Any, path: Path) -> Index:
    """`load_index` of what was read from `path`.

    Raises:
        InputError: not an index that the stages can rely on.
    """
    if not isinstance(content, dict) or "images" not in content:
        raise InputError(f"{path}: has no `images`, so it is neither an index nor a COCO file")
    index = Index(
        images=_list_of_objects(content, "images", path),
        annotations=_list_of_objects(content, "annotations", path),
        categories=_list_of_objects(content, "categories", path),
        info=content.get("info", {}),
        path=path,
    )
    if not isinstance(index.info, dict) or not isinstance(index.info.get("image_root", ""), str):
        raise InputError(f"{path}: `info` is not an object whose image_root is text")
    _check_images(index)
    _check_annotations(index)
    return index


def _list_of_objects(content: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    items = content.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InputError(f"{path}: `{key}` is not a list of objects, as COCO format has it")
    return items


def _check_images(index: Index) -> None:
    if not index.images:
        raise InputError(f"{index.path}: lists no images")
    seen: set[int] = set()
    for position, image in enumerate(index.images):
        image_id = image.get("id")
        if type(image_id) is not int:
            raise InputError(f"{index.path}: image number {position} has no integer id")
        if image_id in seen:
            raise InputError(f"{index.path}: two images have the id {image_id}; number them anew")
        seen.add(image_id)
        if not isinstance(image.get("file_name"), str):
            raise InputError(f"{index.path}: image {image_id} has no file_name")
        if not all(_is_side(image[side]) for side in ("width", "height") if side in image):
            raise InputError(f"{index.path}: width or height of image {image_id} is not positive")


def _check_annotations(index: Index) -> None:
    known = {image["id"] for image in index.images}
    for position, annotation in enumerate(index.annotations):
        image_id = annotation.get("image_id")
        if type(image_id) is not int or image_id not in known:
            raise InputError(
                f"{index.path}: annotation number {position} is for image {image_id!r}, which"
                " `images` does not have"
            )
        if not _is_xywh(annotation.get("bbox")):
            raise InputError(
                f"{index.path}: bbox of annotation number {position} (image {image_id}) is not 4"
                " finite numbers [x, y, width >= 0, height >= 0]"
            )


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value < _FARTHEST_PIXEL


def _is_xywh(bbox: Any) -> bool:
    return (
        isinstance(bbox, list)
        and len(bbox) == 4
        # Comparisons are false for NaN and exact for integers of any length.
        and all(type(v) in (int, float) and -_FARTHEST_PIXEL < v < _FARTHEST_PIXEL for v in bbox)
        and bbox[2] >= 0
        and bbox[3] >= 0
    )
