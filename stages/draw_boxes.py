"""Draw boxes on images: a contact sheet to look at, with ground truth where the index has it.

Shows the top-scoring box of each file in --boxes on the first --count images, or on a random
choice of them with --seed.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.images import UnreadableImage, read_indexed
from bbr.data.index import Index, load_index
from bbr.data.sampling import choose_images
from bbr.errors import InputError
from bbr.options import option
from bbr.reporting.contact_sheets import PALETTE, Tile, draw_sheet
from bbr.reporting.mask_overlay import tint
from bbr.reporting.verdict import verdict
from bbr.storage.atomic import require_ending, write_bytes
from bbr.storage.boxes_json import Record, box_xyxy, read_boxes, require_known_images, top_boxes
from bbr.storage.provenance import read_provenance
from bbr.storage.rle import decode_mask, is_rle

log = logging.getLogger("bbr")

_MAX_IMAGES = 500  # about 25,000 pixels of height; the renderer's limit is 65,535


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    boxes: tuple[Path, ...] = option(help="COCO results")
    output: Path = option(help="sheet.png")
    refined: Path | None = option(None, "f^h: whether it was kept is printed")


@dataclass(frozen=True)
class Sheet:
    """What is shown."""

    names: tuple[str, ...] | None = option(None, "what to call the files [their file names]")
    count: int = option(20, "to show", unit="images", min=1, max=_MAX_IMAGES)
    seed: int | None = option(None, "choose images at random [the first ones]", min=0)


def run(*, files: Files, sheet: Sheet) -> None:
    """Draw the boxes of the files `boxes`, called `names`, and write the sheet to `output`.

    Raises:
        InputError: the files do not belong together, or no image can be read.
    """
    require_ending(files.output, ".png", "a sheet")
    names = sheet.names or [path.stem for path in files.boxes]
    if len(names) != len(files.boxes) or len(names) > len(PALETTE):
        raise InputError(
            f"{len(files.boxes)} --boxes and {len(names)} --names: give one name to each file, and"
            f" at most {len(PALETTE)} files"
        )
    dataset = load_index(files.index)
    top = [_read_top(path, dataset) for path in files.boxes]
    tiles = [
        _tile(image, dataset, top) for image in choose_images(dataset, sheet.count, sheet.seed)
    ]
    readable = [tile for tile in tiles if tile is not None]
    if not readable:
        raise InputError(f"{files.index}: none of the {len(tiles)} images to draw can be read")
    write_bytes(files.output, draw_sheet(readable, names))
    if len(readable) < len(dataset.images):
        print(f"{files.output}: {len(readable)} of {len(dataset.images)} photographs, by chance")
    if files.refined is not None:
        print(_verdict(files.refined))


def _verdict(refined: Path) -> str:
    selected = read_provenance(refined).get("selected")
    if selected is None:
        raise InputError(
            f"{refined}: does not say which state of f^h it is; refine with --select agreement"
        )
    return verdict(selected)


def _read_top(path: Path, dataset: Index) -> dict[int, Record]:
    records = read_boxes(path)
    require_known_images(records, {image["id"] for image in dataset.images}, path)
    return top_boxes(records)


def _tile(image: dict[str, Any], dataset: Index, top: list[dict[int, Record]]) -> Tile | None:
    try:
        pixels = read_indexed(dataset.image_path(image), image)
    except UnreadableImage as error:
        log.warning("left out: %s", error)
        return None
    records = [best.get(image["id"]) for best in top]
    drawn = [None if record is None else box_xyxy(record) for record in records]
    for record, colour in zip(records, PALETTE, strict=False):
        # Boxes made elsewhere may have polygons.
        if record is not None and is_rle(record.get("segmentation")):
            pixels = tint(pixels, decode_mask(record["segmentation"]), colour)
    title = Path(image["file_name"]).name
    return Tile(pixels, title, dataset.boxes_xyxy(image["id"]), drawn)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
