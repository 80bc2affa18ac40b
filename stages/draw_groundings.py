"""Draw phrases, their images, and the box and heatmap of each network beside the ground truth.

Figure 3 of the paper: the phrase, the image, the result of g, and that of g^h. Boxes are black,
ground truth is green. Phrases are chosen at random with --seed, without a look at the results.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.errors import InputError
from bbr.options import option
from bbr.reporting.phrase_examples import load_examples
from bbr.reporting.phrase_figure import draw_groundings
from bbr.storage.atomic import require_ending, write_bytes

_MAX_PHRASES = 100


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json with phrases")
    boxes: tuple[Path, ...] = option(help="boxes.json with phrase ids, one for each network")
    output: Path = option(help="figure.png")
    heatmaps: tuple[Path, ...] | None = option(None, "heatmaps.h5, one for each network [none]")


@dataclass(frozen=True)
class Figure:
    """What is shown."""

    names: tuple[str, ...] = option(help="of the networks")
    count: int = option(12, "to show", unit="phrases", min=1, max=_MAX_PHRASES)
    columns: int = option(2, "phrases in a row", min=1)
    seed: int | None = option(None, "choose phrases at random [the first ones]", min=0)


def run(*, files: Files, figure: Figure) -> None:
    """Draw `count` phrases with the results of each of `boxes`, called `names`, to `output`.

    Raises:
        InputError: the files do not belong together, or an image cannot be read.
    """
    require_ending(files.output, ".png", "a figure")
    if figure.count > _MAX_PHRASES:
        raise InputError(f"--count {figure.count}: a figure holds at most {_MAX_PHRASES} phrases")
    if not len(files.boxes) == len(figure.names) == len(files.heatmaps or files.boxes):
        raise InputError("--boxes, --names and --heatmaps, where given: name as many of each")
    dataset = load_index(files.index)
    examples = load_examples(dataset, files.boxes, files.heatmaps, figure.count, figure.seed)
    write_bytes(files.output, draw_groundings(examples, figure.names, figure.columns))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
