"""Index a dataset of photographs: index.json in COCO format, with ground-truth boxes if any.

  --format voc     --source is VOCdevkit/VOC2007, its parent, or the parent of that; the images are
                   those of ImageSets/Main/{--image-set}.txt; difficult and truncated objects are
                   included.
  --format coco    --source is the folder of the images, --annotations the instances_*.json.
  --format folder  --source is any folder of images, searched recursively; no boxes.

Every image is decoded once. Sizes are those of the upright (EXIF orientation applied) image, and
boxes are understood to lie in it. Images that cannot be read, or whose size is not the one that
their annotation states, are left out and listed in info.skipped with the reason.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bbr import cli
from bbr.errors import InputError
from bbr.index import Index, save_index
from bbr.provenance import provenance
from bbr.readers import Listing, measure_images, read_coco, read_folder, read_voc

_LAYOUT_OF_OPTION = {
    "image_set": "voc",
    "annotations": "coco",
    "image_list": "coco",
    "round_boxes": "coco",
}


def run(
    *,
    layout: str,
    source: Path,
    output: Path,
    image_set: str | None = None,
    annotations: Path | None = None,
    image_list: Path | None = None,
    round_boxes: bool = False,
    limit: int | None = None,
    max_skipped: int | None = None,
) -> Index:
    """Read a dataset, measure its images and write `output`.

    Image files are named relative to info.image_root, itself relative to the folder of `output`,
    so that an index has the same bytes wherever both are moved together.

    Raises:
        InputError: the dataset is not there, not complete, or too much of it is unreadable.
    """
    options = {
        "image_set": image_set,
        "annotations": annotations,
        "image_list": image_list,
        "round_boxes": round_boxes,
    }
    _refuse_misplaced(layout, options)
    listing = _read(layout, source, **options)
    listing = listing.only(listing.images[:limit])
    # The number that --threads set, or the machine's default.
    measured, skipped = measure_images(listing, cli.thread_count(), max_skipped)

    parameters = {
        "format": layout,
        "image_set": (image_set or "trainval") if layout == "voc" else None,
        "round_boxes": round_boxes,
        "limit": limit,
        "max_skipped": max_skipped,
        "image_files_sha256": listing.digest(),
    }
    info = {
        "image_root": _relative(measured.root, output.parent),
        "skipped": skipped,
        "provenance": provenance("index_dataset", parameters, listing.sources),
    }
    index = Index(measured.images, measured.annotations, measured.categories, info, output)
    save_index(index)
    cli.log.info("%s: %d images, %d boxes", output, len(index.images), len(index.annotations))
    return index


def _refuse_misplaced(layout: str, options: dict[str, object]) -> None:
    for name, its_layout in _LAYOUT_OF_OPTION.items():
        if options[name] and layout != its_layout:
            option = name.replace("_", "-")
            raise InputError(f"--{option} is for --format {its_layout}, not {layout}; leave it out")


def _read(
    layout: str,
    source: Path,
    image_set: str | None,
    annotations: Path | None,
    image_list: Path | None,
    round_boxes: bool,
) -> Listing:
    if layout == "folder":
        return read_folder(source)
    if layout == "voc":
        return read_voc(source, image_set or "trainval")
    if annotations is None:
        raise InputError("--format coco needs --annotations instances_*.json")
    return read_coco(annotations, source, round_boxes, image_list)


def _relative(folder: Path, start: Path) -> str:
    # Links are resolved first: "..", below a linked folder, is not the parent that its name shows.
    return Path(os.path.relpath(os.path.realpath(folder), os.path.realpath(start))).as_posix()


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    add = parser.add_argument
    add("--format", dest="layout", choices=("voc", "coco", "folder"), required=True)
    add("--source", type=Path, required=True, help="folder of the dataset or of its images")
    add("--output", type=Path, required=True, help="index.json")
    add("--image-set", help="voc: which list of ImageSets/Main [trainval]")
    add("--annotations", type=Path, help="coco: the instances file")
    add("--image-list", type=Path, help="coco: take only the file names that this file lists")
    add("--round-boxes", action="store_true", help="coco: round box corners to integers")
    add("--limit", type=cli.positive_int, help="take only the first N images [all]")
    add("--max-skipped", type=cli.non_negative_int,
        help="fail if more images are unusable [1 %% of them, but at least 10]")  # fmt: skip
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
