"""Find objects in photographs without labels, and print their boxes.

One line of JSON a photograph: its name, width and height, and boxes [x1, y1, x2, y2] in pixels of
the upright image with their scores, best first.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import
from bbr.command_line.fast_import import large_imports

from bbr.command_line import cli
from bbr.command_line.memory import naming
from bbr.command_line.run_options import DeviceOptions
from bbr.data.images import read_rgb
from bbr.errors import InputError
from bbr.options import option
from bbr.storage.atomic import write_bytes

_MAX_DRAWN = 7  # boxes an image: as many as a sheet has colours


@dataclass(frozen=True)
class Photographs:
    """What is looked at."""

    images: tuple[Path, ...] = option(help="photographs", positional=True, metavar="photo.jpg")
    draw: Path | None = option(None, "a sheet with the boxes", metavar="out.png")


@dataclass(frozen=True)
class Search:
    """How objects are found."""

    method: str = option(
        "tokencut", "lost, tokencut, found, most, maskcut, dino_seg, move, center or whole_image"
    )
    backbone: str = option("dinov2_vits14", "packaged weights by name, or a .safetensors file")
    max_boxes: int = option(
        1, "of a photograph; several by lost, tokencut, found, most and maskcut", min=1
    )
    longest_side: int = option(
        1024, "larger photographs are shrunk to this before the network sees them", unit="px", min=1
    )


def run(*, photographs: Photographs, search: Search, device: DeviceOptions) -> None:
    """Print the boxes of each image, and draw them if asked to.

    Raises:
        InputError: an image cannot be read, or the method or backbone does not fit.
    """
    draw, max_boxes = photographs.draw, search.max_boxes
    if draw is not None and (draw.suffix.lower() != ".png" or max_boxes > _MAX_DRAWN):
        raise InputError(f"--draw {draw}: a PNG file, of at most {_MAX_DRAWN} boxes an image")
    for image in photographs.images:  # before torch, which takes seconds to import
        if image.is_dir():
            raise InputError(
                f"{image}: is a folder, which the workflow takes: snakemake --cores 4"
                f" results/mine/boxes.json --config images={image}"
            )
        if not image.exists():
            raise InputError(f"{image}: no such file")
    with large_imports():
        from bbr.discovery import Discovery, discover

    found: list[tuple[Path, Any, Discovery]] = []
    for image in photographs.images:
        pixels = read_rgb(image)
        with naming(partial(str, image), "shrink photographs (--longest-side)"):
            discovery = discover(
                pixels,
                search.method,
                search.backbone,
                max_boxes=max_boxes,
                longest_side=search.longest_side,
                device=device.device,
            )
        height, width = pixels.shape[:2]
        boxes = discovery.boxes.round(3).tolist()
        scores = [float(f"{score:.7g}") for score in discovery.scores]
        line = {"image": str(image), "width": width, "height": height}
        print(json.dumps({**line, "boxes": boxes, "scores": scores}), flush=True)
        if draw is not None:
            found.append((image, pixels, discovery))
    if draw is not None:
        write_bytes(draw, _sheet(found, search.method, max_boxes))


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
    return cli.execute(run, __doc__, argv, program="python -m bbr")


if __name__ == "__main__":
    sys.exit(main())
