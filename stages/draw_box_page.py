"""A page to look through all photographs with their boxes, from the least certain on.

One HTML file, without a server, and a folder of thumbnails beside it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from PIL import Image

from bbr.command_line import cli
from bbr.data.images import UnreadableImage, read_indexed, shrunk
from bbr.data.index import Index, load_index
from bbr.errors import InputError
from bbr.options import option
from bbr.reporting.box_page import Listed, box_page
from bbr.storage.atomic import atomic_path, require_ending, write_bytes
from bbr.storage.boxes_json import Record, boxes_by_image, read_boxes, require_known_images

_JPEG_QUALITY = 82


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    boxes: tuple[Path, ...] = option(help="COCO results; the order is by scores of the last file")
    thumbnails: Path = option(help="folder of the thumbnails, ID.jpg")
    output: Path = option(help="page.html")


@dataclass(frozen=True)
class Page:
    """How the page looks."""

    names: tuple[str, ...] | None = option(None, "what to call the files [their file names]")
    title: str = option("Boxes", "of the page")
    thumbnail_side: int = option(480, "longer side of thumbnails", unit="px", min=1)


def run(*, files: Files, page: Page) -> None:
    """Write the thumbnails, and then the page.

    Raises:
        InputError: the files do not belong together.
    """
    require_ending(files.output, ".html", "a page")
    names = page.names or [path.stem for path in files.boxes]
    if len(names) != len(files.boxes):
        raise InputError(
            f"{len(files.boxes)} --boxes and {len(names)} --names: give one name to each file"
        )
    dataset = load_index(files.index)
    sets = [_read(path, dataset) for path in files.boxes]
    shown = list(_listed(dataset, sets, files, page.thumbnail_side))
    content = box_page(shown, names, page.title, dataset.info.get("skipped", ()))
    write_bytes(files.output, content)


def _read(path: Path, dataset: Index) -> dict[int, list[Record]]:
    """The boxes of each image, best first."""
    records = read_boxes(path)
    require_known_images(records, {image["id"] for image in dataset.images}, path)
    return boxes_by_image(sorted(records, key=lambda record: -record["score"]))


def _listed(
    dataset: Index, sets: Sequence[dict[int, list[Record]]], files: Files, side: int
) -> Iterator[Listed]:
    here = files.output.parent
    for image in cli.progress(dataset.images, len(dataset.images), "photographs"):
        thumbnail = files.thumbnails / f"{image['id']}.jpg"
        read = _write_thumbnail(dataset, image, thumbnail, side)
        yield Listed(
            name=image["file_name"],
            file=os.path.relpath(dataset.image_path(image), here),
            size=dataset.image_size(image),
            thumbnail=os.path.relpath(thumbnail, here) if read else None,
            boxes=[boxes.get(image["id"], []) for boxes in sets],
        )


def _write_thumbnail(dataset: Index, image: dict[str, Any], path: Path, side: int) -> bool:
    """Whether the photograph could be read."""
    try:
        pixels = read_indexed(dataset.image_path(image), image)
    except UnreadableImage as error:
        cli.log.warning("no thumbnail: %s", error)
        return False
    with atomic_path(path) as temporary:
        Image.fromarray(shrunk(pixels, side)).save(temporary, "jpeg", quality=_JPEG_QUALITY)
    return True


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
