"""What is where in each image: one JSON file to read on.

COCO results with words: a list of {"image_id", "file_name", "caption_id", "caption", "category_id",
"bbox": [x, y, width, height], "score", "regions"}, image by image, in pixels of the upright image;
`regions` is how many regions were described in that way. A caption whose heatmap has no box is left
out.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.captioning.descriptions import located_captions
from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.options import option
from bbr.storage.json_files import write_json


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    descriptions: Path = option(help="the described index")
    boxes: Path = option(help="boxes.json of its captions")
    output: Path = option(help="descriptions.json")


def run(*, files: Files) -> None:
    """Write the list.

    Raises:
        InputError: the files do not belong together.
    """
    described = [
        {
            "image_id": image["id"],
            "file_name": image["file_name"],
            "caption_id": located.unit[1],
            "caption": located.caption,
            **{key: record[key] for key in ("category_id", "bbox", "score")},
            "regions": len(located.regions),
        }
        for image, captions in located_captions(load_index(files.descriptions), files.boxes)
        for located in captions
        for record in located.boxes
    ]
    write_json(files.output, described)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
