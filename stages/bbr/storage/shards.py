"""Shards of one run, of which each image is in one: their kinds, and boxes of several joined.

The other kinds are joined in `grounding.heatmap_shards` and `captioning.described_shards`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .atomic import sha256
from .boxes_json import Record, read_boxes, read_meta, write_boxes
from .json_files import encode_json
from .provenance import provenance

# What a file holds, by its first character: of a list, of an object, of HDF5's signature.
_KINDS = {b"[": "boxes", b"{": "described images", b"\x89": "heatmaps"}
# What may stand before it: marks of UTF-8 and UTF-16, the latter's zeros, blanks.
_BEFORE = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"


def kind_of_shards(paths: Sequence[Path]) -> str:
    """What all of these files hold: "boxes", "described images" or "heatmaps".

    Raises:
        InputError: they are not of one kind, or one is of none or cannot be read.
    """
    kinds = {path: _kind(path) for path in paths}
    first = paths[0]
    for path, kind in kinds.items():
        if kind != kinds[first]:
            raise InputError(
                f"{first} holds {kinds[first]}, and {path} {kind}: name shards of one run"
            )
    return kinds[first]


def _kind(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(4096).lstrip(_BEFORE)[:1]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if start not in _KINDS:
        raise InputError(
            f"{path}: neither boxes nor a described index, which are JSON, nor heatmaps, which are"
            " HDF5; make it again"
        )
    return _KINDS[start]


def claim(image_ids: Iterable[int], path: Path, owners: dict[int, Path]) -> None:
    """Note in `owners` that these images are in the file `path`.

    Raises:
        InputError: one of them is in another file already.
    """
    for image_id in image_ids:
        if image_id in owners:
            raise InputError(
                f"image {image_id} is in both {owners[image_id]} and {path}: "
                "name each shard once, and shards of one run"
            )
        owners[image_id] = path


def history_of_shards(role: str, paths: Iterable[Path], sources: list[Any]) -> dict[str, Any]:
    """The provenance of what was joined, with those of the shards as `sources`."""
    inputs: dict[str, Path | str | None] = {f"{role}_{i}": path for i, path in enumerate(paths)}
    return provenance("merge_shards", {}, inputs) | {"sources": sources}


def merge_boxes(paths: Sequence[Path], output: Path) -> None:
    """Write the boxes and the skipped images of all shards, sorted by image id.

    The order of the shards does not matter.

    Raises:
        InputError: an image is in two shards, or a file is not a boxes file.
    """
    owners: dict[int, Path] = {}
    merged: list[Record] = []
    skipped: list[dict[str, Any]] = []
    sources: list[dict[str, Any] | None] = []
    for path in paths:
        records, meta = read_boxes(path), read_meta(path)
        claim({entry["image_id"] for entry in [*records, *meta["skipped"]]}, path, owners)
        merged += records
        skipped += meta["skipped"]
        sources.append(meta["provenance"])
    history = history_of_shards(
        "boxes", sorted(paths, key=sha256), sorted(sources, key=encode_json)
    )
    write_boxes(output, sorted(merged, key=_image_id), history, sorted(skipped, key=_image_id))


def _image_id(entry: dict[str, Any]) -> int:
    return entry["image_id"]
