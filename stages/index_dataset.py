"""Index a dataset of photographs: index.json in COCO format, with ground-truth boxes if any.

  --format voc     --source is VOCdevkit/VOC2007, its parent, or the parent of that; the images are
                   those of ImageSets/Main/{--image-set}.txt; difficult and truncated objects are
                   included.
  --format coco    --source is the folder of the images, --annotations the instances_*.json.
                   With --captions captions_*.json the images carry their captions.
  --format folder  --source is any folder of images, searched recursively; no boxes.
                   --phrases has what to look for in them: a text file, one phrase a line, or a
                   JSON object of a list of phrases for each file name.

and, with the phrases of each image and the boxes they refer to (`phrase_id` and `phrases`):

  --format flickr30k      Flickr30k Entities. --source is the folder of the photographs or the one
                          above it, --annotations the folder of Sentences and Annotations [found
                          near --source]; the images are those of the list {--image-set}.txt there;
                          several lists are joined by +.
  --format visual_genome  --source is the folder of the images or of VG_100K and VG_100K_2,
                          --annotations region_descriptions.json; --image-data image_data.json.
  --format referit        --source is the folder of the photographs or one above it, --annotations
                          the folder of instances.json and refs(unc).p (RefCLEF), or that of
                          referit_query_dict.json and referit_imcrop_bbox_dict.json.

Of phrases, info.phrases has the counts, and how many have no box to find, by reason.

Every image is decoded once. Sizes are those of the upright (EXIF orientation applied) image, and
boxes are understood to lie in it. Images that cannot be read, or whose size is not the one that
their annotation states, are left out and listed in info.skipped with the reason.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.index import Index, save_index
from bbr.data.readers.layouts import IMAGE_SETS, LAYOUTS, read_layout
from bbr.data.readers.measure import measure_images
from bbr.errors import InputError
from bbr.storage.provenance import provenance

_LAYOUTS_OF_OPTION = {
    "image_set": ("voc", "flickr30k"),
    "annotations": ("coco", "flickr30k", "visual_genome", "referit"),
    "captions": ("coco",),
    "phrases": ("folder",),
    "image_data": ("visual_genome",),
    "image_list": ("coco", "visual_genome", "referit"),
    "round_boxes": ("coco",),
    "texts_per_image": ("coco", "flickr30k", "visual_genome", "referit"),
}
_WITH_PHRASES = ("flickr30k", "visual_genome", "referit")


def run(
    *,
    layout: str,
    source: Path,
    output: Path,
    image_set: str | None = None,
    annotations: Path | None = None,
    captions: Path | None = None,
    phrases: Path | None = None,
    image_data: Path | None = None,
    image_list: Path | None = None,
    round_boxes: bool = False,
    texts_per_image: int | None = None,
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
        "captions": captions,
        "phrases": phrases,
        "image_data": image_data,
        "image_list": image_list,
        "round_boxes": round_boxes,
    }
    _refuse_misplaced(layout, {**options, "texts_per_image": texts_per_image})
    listing = read_layout(layout, source, **options)
    listing = listing.only(listing.images[:limit])
    if texts_per_image is not None:
        listing = listing.with_texts(texts_per_image)
    # The number that --threads set, or the machine's default.
    measured, skipped = measure_images(listing, cli.thread_count(), max_skipped)

    parameters = {
        "format": layout,
        "image_set": image_set or IMAGE_SETS.get(layout),
        "round_boxes": round_boxes,
        "texts_per_image": texts_per_image,
        "limit": limit,
        "max_skipped": max_skipped,
        "image_files_sha256": listing.digest(),
    }
    info = {
        "image_root": _relative(measured.root, output.parent),
        "skipped": skipped,
        "provenance": provenance("index_dataset", parameters, listing.sources),
    }
    if layout in _WITH_PHRASES:
        info["phrases"] = measured.count_phrases()
    index = Index(measured.images, measured.annotations, measured.categories, info, output)
    save_index(index)
    cli.log.info("%s: %d images, %d boxes", output, len(index.images), len(index.annotations))
    return index


def _refuse_misplaced(layout: str, options: dict[str, object]) -> None:
    for name, layouts in _LAYOUTS_OF_OPTION.items():
        if options[name] and layout not in layouts:
            option = name.replace("_", "-")
            raise InputError(
                f"--{option} is for --format {' or '.join(layouts)}, not {layout}; leave it out"
            )


def _relative(folder: Path, start: Path) -> str:
    # Links are resolved first: "..", below a linked folder, is not the parent that its name shows.
    return Path(os.path.relpath(os.path.realpath(folder), os.path.realpath(start))).as_posix()


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    add = parser.add_argument
    add("--format", dest="layout", required=True, choices=LAYOUTS)
    add("--source", type=Path, required=True, help="folder of the dataset or of its images")
    add("--output", type=Path, required=True, help="index.json")
    add("--image-set", help="voc: which list of ImageSets/Main [trainval]; flickr30k: which split"
        " [test]")  # fmt: skip
    add("--annotations", type=Path, help="the instances file, or what the format has")
    add("--captions", type=Path, help="coco: the captions file [none]")
    add("--phrases", type=Path, help="folder: what to look for in the images [nothing]")
    add("--image-data", type=Path, help="visual_genome: image_data.json, to clip boxes by [none]")
    add("--image-list", type=Path,
        help="coco, visual_genome, referit: take only the images that this file lists")  # fmt: skip
    add("--round-boxes", action="store_true", help="coco: round box corners to integers")
    add("--texts-per-image", type=cli.positive_int,
        help="keep so many captions and phrases of an image, drawn once [all]")  # fmt: skip
    add("--limit", type=cli.positive_int, help="take only the first N images [all]")
    add("--max-skipped", type=cli.non_negative_int,
        help="fail if more images are unusable [1 %% of them, but at least 10]")  # fmt: skip
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
