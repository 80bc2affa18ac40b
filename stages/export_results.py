"""What was found for phrases or captions, as one JSON file to read on; pixels of upright images.

With --heatmaps, where each phrase was found: a list of {"file_name", "phrase", "point": [x, y],
"boxes": [{"bbox": [x, y, width, height], "score"}]}: the highest point of the phrase's heatmap, and
its boxes, best first. A phrase whose map has no box has an empty list.

Without, what is where in each image, as COCO results with words: a list of {"image_id",
"file_name", "caption_id", "caption", "category_id", "bbox": [x, y, width, height], "score",
"regions"}, image by image; `regions` is how many regions were described in that way. A caption
whose heatmap has no box is left out.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.options import option
from bbr.reporting.listings import list_captions, list_phrases
from bbr.storage.json_files import write_json


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json with phrases, or a described index")
    boxes: Path = option(help="boxes.json of its phrases or captions")
    output: Path = option(help="the list, .json")
    heatmaps: Path | None = option(
        None, "heatmaps.h5 of those phrases: list them with their points, and not box by box"
    )


def run(*, files: Files) -> None:
    """Write the list.

    Raises:
        InputError: the files do not belong together.
    """
    dataset = load_index(files.index)
    if files.heatmaps is None:
        listed = list_captions(dataset, files.boxes)
    else:
        listed = list_phrases(dataset, files.boxes, files.heatmaps)
    write_json(files.output, listed)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
