"""Leave out boxes below a score, and list the images that have none then.

Boxes keep their order. boxes.meta.json beside them lists the images without any box.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.options import option
from bbr.storage.boxes_json import read_boxes, read_meta, require_known_images, write_boxes
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    boxes: Path = option(help="COCO results")
    output: Path = option(help="boxes.json")


@dataclass(frozen=True)
class Selection:
    """Which boxes stay."""

    min_score: float = option(0.0, "boxes below it are left out", min=0, max=1)


def run(*, files: Files, selection: Selection) -> None:
    """Write the boxes that stay; with a `min_score`, print how many images are left without one.

    Raises:
        InputError: the boxes are not of the images of this index.
    """
    dataset = load_index(files.index)
    boxes, meta = read_boxes(files.boxes), read_meta(files.boxes)
    require_known_images(boxes, {image["id"] for image in dataset.images}, files.boxes)
    kept = [box for box in boxes if box["score"] >= selection.min_score]
    having = {box["image_id"] for box in kept}
    without = [
        {"image_id": image["id"], "file_name": image["file_name"]}
        for image in dataset.images
        if image["id"] not in having
    ]
    inputs = {"index": files.index, "boxes": files.boxes}
    history = provenance("select_boxes", {"min_score": selection.min_score}, inputs)
    history["sources"] = [meta["provenance"]]
    write_boxes(files.output, kept, history, meta["skipped"], without)
    unread = dataset.info.get("skipped", [])
    if unread:
        first = f"{unread[0]['file_name']}: {unread[0]['reason']}"
        print(f"{len(unread)} files cannot be used, such as {first} ({files.index} lists them)")
    if selection.min_score > 0:
        count = f"{len(without)} of {len(dataset.images)} photographs"
        least = f"a score of at least {selection.min_score:g}"
        listed = files.output.with_suffix(".meta.json")
        print(f"{count} have no box of {least}" + (f" ({listed} lists them)" if without else ""))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
