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
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.images import UnreadableImage, read_indexed
from bbr.data.index import Index, load_index
from bbr.data.sampling import choose_images
from bbr.errors import InputError
from bbr.reporting.map_figures import Cell, Row, Section, draw_figure, phrase_section
from bbr.reporting.map_panels import REQUIRED, panel_cells, parse_panel
from bbr.reporting.phrase_examples import load_examples
from bbr.storage.atomic import write_bytes

log = logging.getLogger("bbr")

_PHRASE_NETWORKS = ("g", "g^h")
_MOST_IMAGES = 40  # rows; more make a figure taller than a page


def run(
    *,
    index: Path,
    panel: list[list[str]],
    count: int,
    seed: int | None,
    image_ids: list[int] | None,
    phrase_index: Path | None,
    phrase_heatmaps: list[Path] | None,
    phrase_boxes: list[Path] | None,
    width: float,
    output: Path,
) -> None:
    """Write the figure to `output` (.png) and its PDF twin.

    Raises:
        InputError: a panel is not well described, the files do not belong together, or no image
            can be shown.
    """
    if output.suffix.lower() != ".png":
        raise InputError(f"{output}: a figure's name ends in .png; its .pdf is written beside it")
    panels = list(map(parse_panel, panel))
    if not 1 <= width <= 20:
        raise InputError(f"--width {width}: in inches, from 1 to 20")
    if max(count, len(image_ids or ())) > _MOST_IMAGES:
        raise InputError(f"a figure holds at most {_MOST_IMAGES} images; show fewer")
    dataset = load_index(index)
    chosen = choose_images(dataset, count, seed, image_ids or ())
    ids = [image["id"] for image in chosen]
    cells = [panel_cells(each, ids, dataset) for each in panels]
    rows = [_row(image, dataset, cells) for image in chosen]
    shown = [row for row in rows if row is not None]
    if not shown:
        raise InputError(f"{index}: none of the {len(chosen)} images to draw can be shown")
    sections = [Section([each.column for each in panels], shown)]
    sections += _phrase_sections(phrase_index, phrase_heatmaps, phrase_boxes, seed)
    made = draw_figure(sections, width)
    write_bytes(output.with_suffix(".pdf"), made["pdf"])
    write_bytes(output, made["png"])


def _phrase_sections(
    index: Path | None, heatmaps: list[Path] | None, boxes: list[Path] | None, seed: int | None
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
    """The command line."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument(
        "--panel", nargs="+", action="append", required=True, metavar="KEY=VALUE",
        help=f"a column: {', '.join(REQUIRED)}; and cad, shards, options of the method",
    )  # fmt: skip
    parser.add_argument("--count", type=cli.positive_int, default=4, help="images [4]")
    parser.add_argument("--seed", type=int, help="choose images at random [the first ones]")
    parser.add_argument("--image-ids", type=int, nargs="+", help="these images instead")
    names = [name.upper() for name in _PHRASE_NETWORKS]
    parser.add_argument("--phrase-index", type=Path, help="index.json with phrases [none]")
    parser.add_argument("--phrase-heatmaps", type=Path, nargs=2, metavar=tuple(names))
    parser.add_argument("--phrase-boxes", type=Path, nargs=2, metavar=tuple(names))
    parser.add_argument("--width", type=float, default=3.3, help="inches [3.3]")
    parser.add_argument("--output", type=Path, required=True, help="figure.png")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
