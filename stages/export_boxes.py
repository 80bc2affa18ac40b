"""Boxes in the form that labelling and training tools read.

  --format coco     annotations.json: a whole COCO file with the boxes as annotations, each with its
                    score; categories and category_id agree, so that COCOeval takes it as it is;
                    and images/NAME, links to the photographs (hard ones on one disk)
  --format yolo     data.yaml, labels/NAME.txt, images.txt, the list of the photographs, and
                    images/NAME, links to them; photographs without a box are not listed
  --format labelme  NAME.json for each photograph

Names of classes are by category_id, in --names; a class without one is called object. Photographs
stay where they are. NAME is the index's, without `..`.
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
from bbr.reporting.exports import FORMATS, Labelled, write_export
from bbr.storage.boxes_json import read_boxes, require_known_images
from bbr.storage.json_files import read_json


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    boxes: Path = option(help="boxes.json")
    folder: Path = option(help="where the files go; those of the same names are replaced")
    names: Path | None = option(None, "JSON: an object of a name for each category_id [object]")


@dataclass(frozen=True)
class Exported:
    """What is written."""

    layout: str = option(help="of the files", choices=FORMATS, flag="format")
    min_score: float = option(0.0, "boxes below it are left out", min=0, max=1)


def run(*, files: Files, exported: Exported) -> None:
    """Write the files of one format into `folder`.

    Raises:
        InputError: the boxes are not of the images of this index, or names are no such file.
    """
    dataset = load_index(files.index)
    boxes = [box for box in read_boxes(files.boxes) if box["score"] >= exported.min_score]
    require_known_images(boxes, {image["id"] for image in dataset.images}, files.boxes)
    names = {} if files.names is None else _names(files.names)
    labelled = Labelled(dataset, boxes, names)
    write_export(exported.layout, labelled, files.folder)
    cli.log.info("%s: %d boxes in %d images", files.folder, len(boxes), len(dataset.images))


def _names(path: Path) -> dict[int, str]:
    content = read_json(path)
    try:
        return {int(key): " ".join(str(name).split()) for key, name in content.items()}
    except (AttributeError, ValueError) as error:
        raise InputError(
            f'{path}: not an object of names by category_id, as {{"1": "cat"}}'
        ) from error


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
