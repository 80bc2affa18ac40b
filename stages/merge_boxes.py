"""Join the boxes of several shards into one file, sorted by image id.

The order in which the shards are named does not matter.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.shards import claim
from bbr.options import option
from bbr.storage.atomic import sha256
from bbr.storage.boxes_json import Record, read_boxes, read_meta, write_boxes
from bbr.storage.json_files import encode_json
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    boxes: tuple[Path, ...] = option(help="one file per shard")
    output: Path = option(help="boxes.json")


def run(*, files: Files) -> None:
    """Write the boxes and the skipped images of all files in `boxes` to `output`.

    Raises:
        InputError: an image has boxes in two shards, or a file is not a boxes file.
    """
    owners: dict[int, Path] = {}
    merged: list[Record] = []
    skipped: list[dict[str, Any]] = []
    sources: list[dict[str, Any] | None] = []
    for path in files.boxes:
        records, meta = read_boxes(path), read_meta(path)
        claim({entry["image_id"] for entry in [*records, *meta["skipped"]]}, path, owners)
        merged += records
        skipped += meta["skipped"]
        sources.append(meta["provenance"])
    inputs = {f"boxes_{i}": path for i, path in enumerate(sorted(files.boxes, key=sha256))}
    history = provenance("merge_boxes", {}, inputs)
    history["sources"] = sorted(sources, key=encode_json)
    write_boxes(
        files.output, sorted(merged, key=_image_id), history, sorted(skipped, key=_image_id)
    )


def _image_id(entry: dict[str, Any]) -> int:
    return entry["image_id"]


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
