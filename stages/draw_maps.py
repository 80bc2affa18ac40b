"""Draw what heuristics look at, before and after refinement (paper, figures 1 and 4).

Rows are images; the first column shows the image with its ground truth, and each --panel adds a
column: the map of a heuristic on one network's features, with the heuristic's box and, if there is
one, CAD's. Images are those of --image-ids, else a random choice by --seed, else the first ones: no
ground truth enters the choice. With --phrase-index, --phrase-heatmaps and --phrase-boxes a phrase
stands below, with what g and g^h make of it. A PDF twin is written beside the PNG file.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
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
from bbr.reporting.map_figures import Cell, Row, Section, draw_figure, phrase_section
from bbr.reporting.map_panels import REQUIRED, panel_cells, parse_panel
from bbr.reporting.phrase_examples import load_examples
from bbr.storage.atomic import require_ending, write_bytes

log = logging.getLogger("bbr")

_PHRASE_NETWORKS = ("g", "g^h")
_NETWORK_NAMES = tuple(name.upper() for name in _PHRASE_NETWORKS)
_MAX_IMAGES = 40  # rows; more make a figure taller than a page


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="figure.png")
    phrase_index: Path | None = option(None, "index.json with phrases [none]")
    phrase_heatmaps: tuple[Path, Path] | None = option(
        None, "of a phrase [none]", metavar=_NETWORK_NAMES
    )
    phrase_boxes: tuple[Path, Path] | None = option(
        None, "of that phrase [none]", metavar=_NETWORK_NAMES
    )


@dataclass(frozen=True)
class Figure:
    """What is shown."""

    panel: tuple[tuple[str, ...], ...] = option(
        help=f"a column: {', '.join(REQUIRED)}; and cad, shards, options of the method",
        metavar="KEY=VALUE",
        repeats=True,
    )
    count: int = option(4, "to show", unit="images", min=1, max=_MAX_IMAGES)
    seed: int | None = option(None, "choose images at random [the first ones]", min=0)
    image_ids: tuple[int, ...] | None = option(None, "these images instead")
    width: float = option(3.3, "of the figure", unit="inches", min=1, max=20)


def run(*, files: Files, figure: Figure) -> None:
    """Write the figure to `output` (.png) and its PDF twin.

    Raises:
        InputError: a panel is not well described, the files do not belong together, or no image
            can be shown.
    """
    require_ending(files.output, ".png", "a figure")
    panels = list(map(parse_panel, figure.panel))
    if max(figure.count, len(figure.image_ids or ())) > _MAX_IMAGES:
        raise InputError(f"a figure holds at most {_MAX_IMAGES} images; show fewer")
    dataset = load_index(files.index)
    chosen = choose_images(dataset, figure.count, figure.seed, figure.image_ids or ())
    ids = [image["id"] for image in chosen]
    cells = [panel_cells(each, ids, dataset) for each in panels]
    rows = [_row(image, dataset, cells) for image in chosen]
    shown = [row for row in rows if row is not None]
    if not shown:
        raise InputError(f"{files.index}: none of the {len(chosen)} images to draw can be shown")
    sections = [Section([each.column for each in panels], shown)]
    sections += _phrase_sections(
        files.phrase_index, files.phrase_heatmaps, files.phrase_boxes, figure.seed
    )
    made = draw_figure(sections, figure.width)
    write_bytes(files.output.with_suffix(".pdf"), made["pdf"])
    write_bytes(files.output, made["png"])


def _phrase_sections(
    index: Path | None,
    heatmaps: Sequence[Path] | None,
    boxes: Sequence[Path] | None,
    seed: int | None,
) -> list[Section]:
    if (index, heatmaps, boxes) == (None, None, None):
        return []
    if index is None or heatmaps is None or boxes is None:
        raise InputError("--phrase-index, --phrase-heatmaps and --phrase-boxes: give all or none")
    (example,) = load_examples(load_index(index), boxes, heatmaps, 1, seed)
    return [phrase_section(example, _PHRASE_NETWORKS)]


def _row(image: dict[str, Any], dataset: Index, cells: Sequence[dict[int, Cell]]) -> Row | None:
    try:
        pixels = read_indexed(dataset.image_path(image), image)
    except UnreadableImage as error:
        log.warning("left out: %s", error)
        return None
    if not all(image["id"] in of_panel for of_panel in cells):
        log.warning("left out: %s: some features lack it", image["file_name"])
        return None
    truths = dataset.boxes_xyxy(image["id"])
    return Row(pixels, truths, [of_panel[image["id"]] for of_panel in cells])


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
