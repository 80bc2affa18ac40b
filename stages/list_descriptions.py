"""What is where in each image: one JSON file to read on.

COCO results with words: a list of {"image_id", "file_name", "caption_id", "caption", "category_id",
"bbox": [x, y, width, height], "score", "regions"}, image by image, in pixels of the upright image;
`regions` is how many regions were described in that way. A caption whose heatmap has no box is left
out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bbr.command_line.fast_import

from bbr.captioning.descriptions import located_captions
from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.storage.json_files import write_json


def run(*, descriptions: Path, boxes: Path, output: Path) -> None:
    """Write the list.

    Raises:
        InputError: the files do not belong together.
    """
    write_json(output, [
        {
            "image_id": image["id"],
            "file_name": image["file_name"],
            "caption_id": located.unit[1],
            "caption": located.caption,
            **{key: record[key] for key in ("category_id", "bbox", "score")},
            "regions": len(located.regions),
        }
        for image, captions in located_captions(load_index(descriptions), boxes)
        for located in captions
        for record in located.boxes
    ])  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--descriptions", type=Path, required=True, help="the described index")
    parser.add_argument("--boxes", type=Path, required=True, help="boxes.json of its captions")
    parser.add_argument("--output", type=Path, required=True, help="descriptions.json")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
