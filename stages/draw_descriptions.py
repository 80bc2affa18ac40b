"""A page to look at what was found in photographs: one HTML file, without a server or a script.

Each photograph stands beside its captions; the heatmap and boxes of the caption under the pointer,
under the focus, or chosen lie over it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import cv2
import numpy as np

from bbr.captioning.descriptions import Located, located_captions
from bbr.command_line import cli
from bbr.data.images import read_indexed
from bbr.data.index import Index, load_index
from bbr.errors import InputError
from bbr.grounding.heatmaps_h5 import HeatmapFile
from bbr.options import option
from bbr.reporting.description_page import Caption, Photograph, description_page
from bbr.storage.atomic import require_ending, write_bytes


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    descriptions: Path = option(help="the described index")
    heatmaps: Path = option(help="heatmaps.h5 of its captions")
    boxes: Path = option(help="boxes.json of those heatmaps")
    output: Path = option(help="page.html")


@dataclass(frozen=True)
class Page:
    """How the page looks."""

    title: str = option("What is where", "of the page")
    max_side: int = option(800, "larger photographs are shown at this", unit="px", min=1)


def run(*, files: Files, page: Page) -> None:
    """Write the page.

    Raises:
        InputError: the files do not belong together, or an image cannot be read.
    """
    require_ending(files.output, ".html", "a page")
    with HeatmapFile(files.heatmaps) as maps:
        shown = _photographs(load_index(files.descriptions), files.boxes, maps, page.max_side)
        write_bytes(files.output, description_page(shown, page.title))


def _photographs(
    dataset: Index, boxes: Path, maps: HeatmapFile, max_side: int
) -> Iterator[Photograph]:
    units = zip(maps.image_id.tolist(), maps.phrase_id.tolist(), strict=True)
    positions = {unit: position for position, unit in enumerate(units)}
    found = located_captions(dataset, boxes)
    for image, captions in cli.progress(found, len(dataset.images), "photographs"):
        for located in captions:
            if located.unit not in positions:
                raise InputError(
                    f"heatmaps {maps.path}: no map of caption {located.unit[1]} of image"
                    f" {image['id']}; make them from the same descriptions"
                )
        drawn = maps.read(np.array([positions[c.unit] for c in captions], dtype=int))
        pixels = _shrink(read_indexed(dataset.image_path(image), image), max_side)
        shown = [_caption(c, heatmap) for c, heatmap in zip(captions, drawn, strict=True)]
        yield Photograph(image["file_name"], pixels, dataset.image_size(image), shown)


def _caption(located: Located, heatmap: np.ndarray) -> Caption:
    return Caption(
        text=located.caption,
        boxes=np.array([record["bbox"] for record in located.boxes]).reshape(-1, 4),
        scores=np.array([record["score"] for record in located.boxes]),
        heatmap=heatmap,
        regions=len(located.regions),
    )


def _shrink(pixels: np.ndarray, max_side: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
