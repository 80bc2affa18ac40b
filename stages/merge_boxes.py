"""Join the boxes of several shards into one file, sorted by image id.

The order in which the shards are named does not matter.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.shards import claim
from bbr.storage.atomic import sha256
from bbr.storage.boxes_json import Record, read_boxes, read_meta, write_boxes
from bbr.storage.json_files import encode_json
from bbr.storage.provenance import provenance


def run(*, boxes: list[Path], output: Path) -> None:
    """Write the boxes and the skipped images of all files in `boxes` to `output`.

    Raises:
        InputError: an image has boxes in two shards, or a file is not a boxes file.
    """
    owners: dict[int, Path] = {}
    merged: list[Record] = []
    skipped: list[dict[str, Any]] = []
    sources: list[dict[str, Any] | None] = []
    for path in boxes:
        records, meta = read_boxes(path), read_meta(path)
        claim({entry["image_id"] for entry in [*records, *meta["skipped"]]}, path, owners)
        merged += records
        skipped += meta["skipped"]
        sources.append(meta["provenance"])
    inputs = {f"boxes_{i}": path for i, path in enumerate(sorted(boxes, key=sha256))}
    history = provenance("merge_boxes", {}, inputs)
    history["sources"] = sorted(sources, key=encode_json)
    write_boxes(output, sorted(merged, key=_image_id), history, sorted(skipped, key=_image_id))


def _image_id(entry: dict[str, Any]) -> int:
    return entry["image_id"]


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--boxes", type=Path, nargs="+", required=True, help="one file per shard")
    parser.add_argument("--output", type=Path, required=True, help="boxes.json")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
