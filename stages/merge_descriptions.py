"""Join the described images of several shards into one index, in the order of the shards."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.index import Index, load_index, save_index
from bbr.data.phrases import index_phrases
from bbr.errors import InputError
from bbr.options import option
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    descriptions: tuple[Path, ...] = option(help="one file per shard, made by describe_regions.py")
    output: Path = option(help="the described index, .json")


def run(*, files: Files) -> None:
    """Write the images and the skipped ones of all files in `descriptions` to `output`.

    Raises:
        InputError: an image is in two shards, they are of images in different folders, or nothing
            was described at all.
    """
    shards = [load_index(path) for path in files.descriptions]
    for shard in shards[1:]:
        if shard.image_root.resolve() != shards[0].image_root.resolve():
            raise InputError(
                f"{shard.path}: its images lie in {shard.image_root}, those of {shards[0].path} in"
                f" {shards[0].image_root}; name shards of one run, where it wrote them"
            )
    owners: dict[int, Path] = {}
    for shard in shards:
        for image in shard.images:
            if image["id"] in owners:
                raise InputError(
                    f"image {image['id']} is in both {owners[image['id']]} and {shard.path}: name"
                    " each shard once, and shards of one run"
                )
            owners[image["id"]] = shard.path
    if not any(index_phrases(shard) for shard in shards):
        raise InputError(
            f"{files.descriptions[0]}: no image has a description; there are no regions as large as"
            " --min-area asks for"
        )
    inputs = {f"descriptions_{i}": path for i, path in enumerate(files.descriptions)}
    record = provenance("merge_descriptions", {}, inputs)
    record["sources"] = [shard.info.get("provenance") for shard in shards]
    info = {
        "image_root": shards[0].image_root_from(files.output.parent),
        "provenance": record,
        "skipped": [entry for shard in shards for entry in shard.info.get("skipped", [])],
    }
    images: list[dict[str, Any]] = [image for shard in shards for image in shard.images]
    save_index(Index(images, [], [], info, files.output))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
