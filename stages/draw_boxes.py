"""Draw boxes on images: a contact sheet to look at, with ground truth where the index has it.

Shows the top-scoring box of each file in --boxes on the first --count images, or on a random
choice of them with --seed.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.images import UnreadableImage, read_indexed
from bbr.data.index import Index, load_index
from bbr.data.sampling import choose_images
from bbr.errors import InputError
from bbr.reporting.contact_sheets import PALETTE, Tile, draw_sheet
from bbr.storage.atomic import write_bytes
from bbr.storage.boxes_json import Record, box_xyxy, read_boxes, require_known_images, top_boxes

log = logging.getLogger("bbr")

_MOST_IMAGES = 500  # about 25,000 pixels of height; the renderer's limit is 65,535


def run(
    *,
    index: Path,
    boxes: list[Path],
    names: list[str] | None,
    count: int,
    seed: int | None,
    output: Path,
) -> None:
    """Draw the boxes of the files `boxes`, called `names`, and write the sheet to `output`.

    Raises:
        InputError: the files do not belong together, or no image can be read.
    """
    if output.suffix.lower() != ".png":
        raise InputError(f"{output}: the sheet is a PNG image; end its name in .png")
    if count > _MOST_IMAGES:
        raise InputError(f"--count {count}: a sheet holds at most {_MOST_IMAGES} images")
    names = names or [path.stem for path in boxes]
    if len(names) != len(boxes) or len(names) > len(PALETTE):
        raise InputError(
            f"{len(boxes)} --boxes and {len(names)} --names: give one name to each file, and at "
            f"most {len(PALETTE)} files"
        )
    dataset = load_index(index)
    top = [_read_top(path, dataset) for path in boxes]
    tiles = [_tile(image, dataset, top) for image in choose_images(dataset, count, seed)]
    readable = [tile for tile in tiles if tile is not None]
    if not readable:
        raise InputError(f"{index}: none of the {len(tiles)} images to draw can be read")
    write_bytes(output, draw_sheet(readable, names))


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
    drawn = [box_xyxy(best[image["id"]]) if image["id"] in best else None for best in top]
    title = Path(image["file_name"]).name
    return Tile(pixels, title, dataset.boxes_xyxy(image["id"]), drawn)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--boxes", type=Path, nargs="+", required=True, help="COCO results")
    parser.add_argument("--names", nargs="+", help="what to call the files [their file names]")
    parser.add_argument("--count", type=cli.positive_int, default=20, help="images [20]")
    parser.add_argument("--seed", type=int, help="choose images at random [the first ones]")
    parser.add_argument("--output", type=Path, required=True, help="sheet.png")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
