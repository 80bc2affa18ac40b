"""Described images of several shards as one index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.index import Index, load_index, save_index
from ..data.phrases import index_phrases
from ..errors import InputError
from ..storage.shards import claim, history_of_shards


def merge_descriptions(paths: Sequence[Path], output: Path) -> None:
    """Write the images and the skipped ones of all shards, in the order in which these are named.

    Raises:
        InputError: an image is in two shards, they are of images in different folders, or nothing
            was described at all.
    """
    shards = [load_index(path) for path in paths]
    first = shards[0]
    owners: dict[int, Path] = {}
    for shard in shards:
        if shard.image_root.resolve() != first.image_root.resolve():
            raise InputError(
                f"{shard.path}: its images lie in {shard.image_root}, those of {first.path} in"
                f" {first.image_root}; name shards of one run, where it wrote them"
            )
        claim((image["id"] for image in shard.images), shard.path, owners)
    if not any(index_phrases(shard) for shard in shards):
        raise InputError(
            f"{first.path}: no image has a description; there are no regions as large as --min-area"
            " asks for"
        )
    sources = [shard.info.get("provenance") for shard in shards]
    info = {
        "image_root": first.image_root_from(output.parent),
        "provenance": history_of_shards("descriptions", paths, sources),
        "skipped": [entry for shard in shards for entry in shard.info.get("skipped", [])],
    }
    images: list[dict[str, Any]] = [image for shard in shards for image in shard.images]
    save_index(Index(images, [], [], info, output))
