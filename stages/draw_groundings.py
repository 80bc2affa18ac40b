"""Draw phrases, their images, and the box and heatmap of each network beside the ground truth.

Figure 3 of the paper: the phrase, the image, the result of g, and that of g^h. Boxes are black,
ground truth is green. Phrases are chosen at random with --seed, without a look at the results.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import bbr.startup

import numpy as np

from bbr import cli
from bbr.box_files import read_boxes
from bbr.errors import InputError
from bbr.files import write_bytes
from bbr.grounding import LEAST_AREA, Unit, record_unions, require_phrases
from bbr.grounding_figure import Example, Result, draw_groundings
from bbr.heatmaps import HeatmapFile
from bbr.images import read_indexed
from bbr.index import Index, load_index
from bbr.phrases import Phrase, index_phrases

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
    phrases = {(phrase.image_id, phrase.phrase_id): phrase for phrase in index_phrases(dataset)}
    chosen = _choose(dataset, phrases, count, seed)
    unions = []
    for path in boxes:
        records = read_boxes(path)
        require_phrases(records, phrases, path)
        unions.append(record_unions(records))
    maps = [_maps(path, chosen) for path in heatmaps] if heatmaps else [{} for _ in boxes]
    images = {image["id"]: image for image in dataset.images}
    examples = [
        Example(
            phrase=phrases[unit].texts[0],
            image=read_indexed(dataset.image_path(images[unit[0]]), images[unit[0]]),
            truths=phrases[unit].boxes,
            results=[Result(u.get(unit), m.get(unit)) for u, m in zip(unions, maps, strict=True)],
        )
        for unit in chosen
    ]
    write_bytes(output, draw_groundings(examples, names, columns))


def _choose(
    dataset: Index, phrases: dict[Unit, Phrase], count: int, seed: int | None
) -> list[Unit]:
    """Phrases whose targets are evaluated, or that have none, in the order of the index."""
    sizes = {image["id"]: dataset.image_size(image) for image in dataset.images}
    units = [unit for unit, phrase in phrases.items() if _counts(phrase, sizes[unit[0]])]
    if not units:
        raise InputError(f"{dataset.path}: has no phrase to draw")
    if seed is None or count >= len(units):
        return units[:count]
    return [units[i] for i in sorted(random.Random(seed).sample(range(len(units)), count))]


def _counts(phrase: Phrase, size: tuple[int, int]) -> bool:
    areas = (phrase.boxes[:, 2:] - phrase.boxes[:, :2]).prod(1)
    return not len(areas) or bool((areas >= LEAST_AREA * np.prod(size)).any())


def _maps(path: Path, units: list[Unit]) -> dict[Unit, np.ndarray]:
    with HeatmapFile(path) as file:
        known = zip(file.image_id.tolist(), file.phrase_id.tolist(), strict=True)
        positions = {unit: position for position, unit in enumerate(known)}
        missing = [unit for unit in units if unit not in positions]
        if missing:
            raise InputError(
                f"heatmaps {path}: no map of phrase {missing[0][1]} of image {missing[0][0]}; make "
                "them from the same index"
            )
        maps = file.read(np.array([positions[unit] for unit in units]))
    return dict(zip(units, maps, strict=True))


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
