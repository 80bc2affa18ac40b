"""Draw what heuristics look at, before and after refinement (paper, figures 1 and 4).

Rows are images; the first column shows the image with its ground truth, and each --panel adds a
column: the map of a heuristic on one network's features, with the heuristic's box and, if there is
one, CAD's. Images are those of --image-ids, else a random choice by --seed, else the first ones: no
ground truth enters the choice. A PDF twin is written beside the PNG file.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import bbr.startup

from bbr import cli
from bbr.box_files import box_xyxy, read_boxes, require_known_images, top_boxes
from bbr.choice import choose_images
from bbr.errors import InputError
from bbr.features import FeatureFile
from bbr.files import write_bytes
from bbr.heuristics import heuristic_options
from bbr.images import UnreadableImage, read_indexed
from bbr.index import Index, load_index
from bbr.map_figures import Cell, Column, Row, draw_figure
from bbr.method_maps import method_maps
from bbr.metric_files import parse_labels

log = logging.getLogger("bbr")

_REQUIRED = ("title", "network", "method", "features", "boxes")
_MOST_IMAGES = 40  # rows; more make a figure taller than a page


@dataclass(frozen=True)
class Panel:
    """A column of the figure and where it comes from."""

    column: Column
    method: str
    options: Any
    features: list[Path]
    boxes: Path
    cad: Path | None


def run(
    *,
    index: Path,
    panel: list[list[str]],
    count: int,
    seed: int | None,
    image_ids: list[int] | None,
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
    cells = [_cells(each, ids, dataset) for each in panels]
    rows = [_row(image, dataset, cells) for image in chosen]
    shown = [row for row in rows if row is not None]
    if not shown:
        raise InputError(f"{index}: none of the {len(chosen)} images to draw can be shown")
    made = draw_figure(shown, [each.column for each in panels], width)
    write_bytes(output.with_suffix(".pdf"), made["pdf"])
    write_bytes(output, made["png"])


def parse_panel(words: Sequence[str]) -> Panel:
    """`title=... network=f|f^h method=... features=... boxes=...`, in any order.

    Further keys: `cad`, boxes; `shards`, how many files `features` with `{shard}` stands for; and
    the options of the method.

    Raises:
        InputError: a key is missing or unknown, or a value is not of its kind.
    """
    given = parse_labels(words, "--panel")
    missing = [key for key in _REQUIRED if key not in given]
    if missing:
        raise InputError(f"--panel: {missing[0]} is missing; it needs {', '.join(_REQUIRED)}")
    title, network, method, features, boxes = (given.pop(key) for key in _REQUIRED)
    cad, shards = given.pop("cad", None), given.pop("shards", "1")
    if not shards.isdecimal():
        raise InputError(f"--panel: shards is {shards}, not a number")
    return Panel(
        column=Column(title, network),
        method=method,
        options=heuristic_options(method, _typed(method, given)),
        features=[Path(features.replace("{shard}", str(i))) for i in range(int(shards))],
        boxes=Path(boxes),
        cad=None if cad is None else Path(cad),
    )


def _typed(method: str, texts: dict[str, str]) -> dict[str, Any]:
    """Options of a method as the types that its defaults have."""
    defaults = {f.name: f.default for f in fields(heuristic_options(method, {}))}
    typed: dict[str, Any] = {}
    for name, text in texts.items():
        kind = type(defaults.get(name, ""))
        try:
            typed[name] = text == "True" if kind is bool else kind(text)
        except ValueError:
            raise InputError(f"--panel: {name} is {text}, not of type {kind.__name__}") from None
    return typed


def _cells(panel: Panel, ids: Sequence[int], dataset: Index) -> dict[int, Cell]:
    """The panel's cell of each of these images that it has features of."""
    proposed = _read_top(panel.boxes, dataset)
    found_by_cad = {} if panel.cad is None else _read_top(panel.cad, dataset)
    cells = {}
    for path in panel.features:
        with FeatureFile(path) as file:
            positions = {image: i for i, image in enumerate(file.image_id.tolist())}
            for image in (image for image in ids if image in positions):
                at = positions[image]
                (batch,) = file.batches(1, among=range(at, at + 1))
                cells[image] = Cell(
                    map=method_maps(batch, panel.method, panel.options)[0],
                    heuristic=proposed.get(image),
                    cad=found_by_cad.get(image),
                )
    return cells


def _read_top(path: Path, dataset: Index) -> dict[int, list[float]]:
    records = read_boxes(path)
    require_known_images(records, {image["id"] for image in dataset.images}, path)
    return {image: box_xyxy(record) for image, record in top_boxes(records).items()}


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
        help=f"a column: {', '.join(_REQUIRED)}; and cad, shards, options of the method",
    )  # fmt: skip
    parser.add_argument("--count", type=cli.positive_int, default=4, help="images [4]")
    parser.add_argument("--seed", type=int, help="choose images at random [the first ones]")
    parser.add_argument("--image-ids", type=int, nargs="+", help="these images instead")
    parser.add_argument("--width", type=float, default=3.3, help="inches [3.3]")
    parser.add_argument("--output", type=Path, required=True, help="figure.png")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
