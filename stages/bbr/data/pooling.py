"""Several indexes as one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .index import Index


def pool(indexes: Sequence[Index], output: Path) -> Index:
    """The images of all indexes, in their order and under new ids, with their ground truth.

    Categories of one name are one; images and annotations keep all else that they have.

    Args:
        output: where the pool is to be written; images are named relative to its folder.

    Raises:
        InputError: two indexes list the same file, or differ in the size that f sees.
    """
    max_side = _shared_max_side(indexes)
    roots = [os.path.realpath(index.image_root) for index in indexes]
    shared = os.path.commonpath(roots)
    categories = _Categories()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, root in zip(indexes, roots, strict=True):
        new_ids = {image["id"]: i for i, image in enumerate(index.images, len(images) + 1)}
        below = os.path.relpath(root, shared)
        images += [
            {
                **image,
                "id": new_ids[image["id"]],
                "file_name": Path(below, image["file_name"]).as_posix(),
            }
            for image in index.images
        ]
        annotations += categories.renumbered(index, new_ids)
    _refuse_repeated(images, Path(shared))
    info = {
        "image_root": Path(
            os.path.relpath(shared, os.path.realpath(output.absolute().parent))
        ).as_posix(),
        "max_side": max_side,
        "skipped": [entry for index in indexes for entry in index.info.get("skipped", [])],
    }
    annotations = [{**annotation, "id": i} for i, annotation in enumerate(annotations, 1)]
    return Index(images, annotations, categories.all, info, output)


class _Categories:
    """Categories of several indexes, known by name and numbered from 1 as they appear."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._ids: dict[Any, int] = {}

    def renumbered(self, index: Index, image_ids: dict[int, int]) -> Iterator[dict[str, Any]]:
        """The annotations of an index with the ids of the pool."""
        new_ids = {category.get("id"): self._id_of(category) for category in index.categories}
        for annotation in index.annotations:
            category = annotation.get("category_id")
            yield {
                **annotation,
                "image_id": image_ids[annotation["image_id"]],
                **({"category_id": new_ids[category]} if category in new_ids else {}),
            }

    def _id_of(self, category: dict[str, Any]) -> int:
        name = category.get("name")
        if name not in self._ids:
            self._ids[name] = len(self.all) + 1
            self.all.append({**category, "id": self._ids[name]})
        return self._ids[name]


def _shared_max_side(indexes: Sequence[Index]) -> int | None:
    first, *others = indexes
    for other in others:
        if other.max_side != first.max_side:
            raise InputError(
                f"{first.path} has max_side {first.max_side} and {other.path} has"
                f" {other.max_side}: give all datasets of a pool the same"
            )
    return first.max_side


def _refuse_repeated(images: list[dict[str, Any]], root: Path) -> None:
    seen: set[str] = set()
    for image in images:
        name = os.path.normpath(image["file_name"])
        if name in seen:
            raise InputError(f"{root / name} is in two datasets of the pool; leave one of them out")
        seen.add(name)
