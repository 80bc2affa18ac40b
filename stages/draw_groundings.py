"""Draw phrases, their images, and the box and heatmap of each network beside the ground truth.

Figure 3 of the paper: the phrase, the image, the result of g, and that of g^h. Boxes are black,
ground truth is green. Phrases are chosen at random with --seed, without a look at the results.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.errors import InputError
from bbr.reporting.phrase_examples import load_examples
from bbr.reporting.phrase_figure import draw_groundings
from bbr.storage.atomic import write_bytes

_MOST_PHRASES = 100


def run(
    *,
    index: Path,
    boxes: list[Path],
    heatmaps: list[Path] | None,
    names: list[str],
    count: int,
    columns: int,
    seed: int | None,
    output: Path,
) -> None:
    """Draw `count` phrases with the results of each of `boxes`, called `names`, to `output`.

    Raises:
        InputError: the files do not belong together, or an image cannot be read.
    """
    if output.suffix.lower() != ".png":
        raise InputError(f"{output}: the figure is a PNG image; end its name in .png")
    if count > _MOST_PHRASES:
        raise InputError(f"--count {count}: a figure holds at most {_MOST_PHRASES} phrases")
    if not len(boxes) == len(names) == len(heatmaps or boxes):
        raise InputError("--boxes, --names and --heatmaps, where given: name as many of each")
    dataset = load_index(index)
    examples = load_examples(dataset, boxes, heatmaps, count, seed)
    write_bytes(output, draw_groundings(examples, names, columns))


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="index.json with phrases")
    parser.add_argument("--boxes", type=Path, nargs="+", required=True,
                        help="boxes.json with phrase ids, one for each network")  # fmt: skip
    parser.add_argument("--heatmaps", type=Path, nargs="+",
                        help="heatmaps.h5, one for each network [none]")  # fmt: skip
    parser.add_argument("--names", nargs="+", required=True, help="of the networks")
    parser.add_argument("--count", type=cli.positive_int, default=12, help="phrases [12]")
    parser.add_argument("--columns", type=cli.positive_int, default=2, help="phrases in a row [2]")
    parser.add_argument("--seed", type=int, help="choose phrases at random [the first ones]")
    parser.add_argument("--output", type=Path, required=True, help="figure.png")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
