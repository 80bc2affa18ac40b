"""Find objects in photographs without labels, and print their boxes.

One line of JSON a photograph: its name, width and height, and boxes [x1, y1, x2, y2] in pixels of
the upright image with their scores, best first.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import
from bbr.command_line.fast_import import large_imports

from bbr.command_line import cli
from bbr.data.images import read_rgb
from bbr.errors import InputError
from bbr.storage.atomic import write_bytes

_MOST_DRAWN = 7  # boxes an image: as many as a sheet has colours


def run(
    *,
    images: list[Path],
    method: str,
    backbone: str,
    max_boxes: int,
    longest_side: int,
    draw: Path | None,
    device: str,
) -> None:
    """Print the boxes of each image, and draw them if asked to.

    Raises:
        InputError: an image cannot be read, or the method or backbone does not fit.
    """
    if draw is not None and (draw.suffix.lower() != ".png" or max_boxes > _MOST_DRAWN):
        raise InputError(f"--draw {draw}: a PNG file, of at most {_MOST_DRAWN} boxes an image")
    with large_imports():
        from bbr.discovery import Discovery, discover

    found: list[tuple[Path, Any, Discovery]] = []
    for image in images:
        pixels = read_rgb(image)
        discovery = discover(
            pixels,
            method,
            backbone,
            max_boxes=max_boxes,
            longest_side=longest_side,
            device=device,
        )
        height, width = pixels.shape[:2]
        boxes = discovery.boxes.round(3).tolist()
        scores = [float(f"{score:.7g}") for score in discovery.scores]
        line = {"image": str(image), "width": width, "height": height}
        print(json.dumps({**line, "boxes": boxes, "scores": scores}), flush=True)
        if draw is not None:
            found.append((image, pixels, discovery))
    if draw is not None:
        write_bytes(draw, _sheet(found, method, max_boxes))


def _sheet(found: list[tuple[Path, Any, Any]], method: str, max_boxes: int) -> bytes:
    import numpy as np

    from bbr.reporting.contact_sheets import Tile, draw_sheet

    nothing = np.empty((0, 4))
    tiles = []
    for image, pixels, discovery in found:
        boxes = discovery.boxes.tolist()
        missing = max_boxes - len(boxes)
        tiles.append(Tile(pixels, image.name, nothing, [*boxes, *[None] * missing]))
    names = [method] if max_boxes == 1 else [f"{method}, box {i + 1}" for i in range(max_boxes)]
    return draw_sheet(tiles, names)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.prog = "python -m bbr"
    parser.add_argument("images", nargs="+", type=Path, metavar="photo.jpg")
    parser.add_argument(
        "--method",
        default="tokencut",
        help="lost, tokencut, dino_seg, move, center or whole_image [tokencut]",
    )
    parser.add_argument(
        "--backbone",
        default="dinov2_vits14",
        help="packaged weights by name, or a .safetensors file [dinov2_vits14]",
    )
    parser.add_argument(
        "--max-boxes",
        type=cli.positive_int,
        default=1,
        help="of a photograph; several by lost and tokencut alone [1]",
    )
    parser.add_argument(
        "--longest-side",
        type=cli.positive_int,
        default=1024,
        help="larger photographs are shrunk to this before the network sees them [1024]",
    )
    parser.add_argument("--draw", type=Path, metavar="out.png", help="a sheet with the boxes")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
