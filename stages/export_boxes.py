"""Boxes in the form that labelling and training tools read.

  --format coco     annotations.json: a whole COCO file with the boxes as annotations, each with its
                    score; categories and category_id agree, so that COCOeval takes it as it is;
                    and images/NAME, links to the photographs (hard ones on one disk)
  --format yolo     data.yaml, labels/NAME.txt, images.txt, the list of the photographs, and
                    images/NAME, links to them; photographs without a box are not listed
  --format labelme  NAME.json for each photograph
  --format fiftyone labels.json and data/NAME, as coco has annotations.json and images/NAME

Names of classes are by category_id, in --names; classes of one name become one, and a class without
a name is called object. With --clusters, category_id is the number of a cluster (cluster_boxes.py).
Photographs stay where they are. NAME is the index's, without `..`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import yaml

from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.errors import InputError
from bbr.options import option
from bbr.reporting.exports import FORMATS, labelled, write_export
from bbr.storage.boxes_json import read_boxes, require_known_images
from bbr.storage.json_files import read_json


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    boxes: Path = option(help="boxes.json")
    folder: Path = option(help="where the files go; those of the same names are replaced")
    names: Path | None = option(
        None, "YAML or JSON: a name for each category_id, as lines `1: cat` [object]"
    )


@dataclass(frozen=True)
class Exported:
    """What is written."""

    layout: str = option(help="of the files", choices=FORMATS, flag="format")
    min_score: float = option(0.0, "boxes below it are left out", min=0, max=1)
    clusters: int | None = option(
        None,
        "category_id is a cluster, 1 to this; those without a name are called by their number, and"
        " names of others are refused [any category_id]",
        min=1,
    )


def run(*, files: Files, exported: Exported) -> None:
    """Write the files of one format into `folder`.

    Raises:
        InputError: the boxes are not of the images of this index, names are no such file, or one of
            them is of a cluster that there is not.
    """
    dataset = load_index(files.index)
    boxes = [box for box in read_boxes(files.boxes) if box["score"] >= exported.min_score]
    require_known_images(boxes, {image["id"] for image in dataset.images}, files.boxes)
    names = {} if files.names is None else _names(files.names)
    if exported.clusters is not None:
        _require_clusters(names, files.names, exported.clusters)
        _require_clusters({box["category_id"] for box in boxes}, files.boxes, exported.clusters)
    write_export(exported.layout, labelled(dataset, boxes, names, exported.clusters), files.folder)
    having = len({box["image_id"] for box in boxes})
    cli.log.info("%s: %d boxes in %d images", files.folder, len(boxes), having)


def _require_clusters(ids: Iterable[int], path: Path | None, clusters: int) -> None:
    for i in sorted(ids):
        if not 1 <= i <= clusters:
            there = f"numbers go from 1 to {clusters}" if clusters > 1 else "there is only 1"
            raise InputError(
                f"{path}: has cluster {i}, and {there}; change the number, or have more clusters"
                " (clusters=N in the workflow)"
            )


def _names(path: Path) -> dict[int, str]:
    content = read_json(path) if path.suffix == ".json" else _read_yaml(path)
    try:
        return {int(key): " ".join(str(name).split()) for key, name in content.items()}
    except (AttributeError, ValueError) as error:
        raise InputError(
            f'{path}: not names by category_id, as lines `1: cat`, or as {{"1": "cat"}}'
        ) from error


def _read_yaml(path: Path) -> Any:
    """Any YAML, whose scalars all stay texts: `2: no` is a name too."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not YAML ({error})") from error


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
