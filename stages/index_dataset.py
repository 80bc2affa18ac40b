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
boxes lie in it: those that were drawn on the stored image, as its stated size tells, are turned
with it; --frame says so where sizes do not. Images that cannot be read, or whose size is not the
one that their annotation states, are left out and listed in info.skipped with the reason. What
else is not used, or not as it stands there, is counted in info.notes.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.index import Index, save_index
from bbr.data.readers.file_names import with_files_found
from bbr.data.readers.layouts import read_layout
from bbr.data.readers.measure import measure_images
from bbr.data.readers.reading import WITH_PHRASES, WITH_TEXTS, Reading, refuse_misplaced
from bbr.options import option
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    source: Path = option(help="folder of the dataset or of its images")
    output: Path = option(help="index.json")
    annotations: Path | None = option(
        None, "the instances file, or what the format has", only=WITH_TEXTS
    )
    captions: Path | None = option(None, "the captions file [none]", only=("coco",))
    phrases: Path | None = option(
        None, "what to look for in the images [nothing]", only=("folder",)
    )
    image_data: Path | None = option(
        None, "image_data.json, to clip boxes by [none]", only=("visual_genome",)
    )
    image_list: Path | None = option(
        None, "take only the images that this file lists", only=("coco", "visual_genome", "referit")
    )


def run(*, files: Files, reading: Reading) -> Index:
    """Read a dataset, measure its images and write `output`.

    Image files are named relative to info.image_root, itself relative to the folder of `output`,
    so that an index has the same bytes wherever both are moved together.

    Raises:
        InputError: the dataset is not there, not complete, or too much of it is unreadable.
    """
    layout, output = reading.layout, files.output
    refuse_misplaced(layout, files, reading)
    listing = read_layout(
        layout,
        files.source,
        image_set=reading.image_set,
        annotations=files.annotations,
        captions=files.captions,
        phrases=files.phrases,
        image_data=files.image_data,
        image_list=files.image_list,
        round_boxes=reading.round_boxes,
        inclusive_boxes=reading.inclusive_boxes,
        masks=reading.masks,
    )
    listing = with_files_found(listing.only(listing.images[: reading.limit]))
    if reading.texts_per_image is not None:
        listing = listing.with_texts(reading.texts_per_image)
    # The number that --threads set, or the machine's default.
    measured, skipped = measure_images(
        listing, cli.thread_count(), reading.max_skipped, reading.frame
    )
    parameters = {**reading.recorded(), "image_files_sha256": listing.digest()}
    info = {
        "image_root": _relative(measured.root, output.parent),
        "max_side": reading.max_side,
        "skipped": skipped,
        "notes": measured.count_notes(),
        "provenance": provenance("index_dataset", parameters, listing.sources),
    }
    if layout in WITH_PHRASES:
        info["phrases"] = measured.count_phrases()
    index = Index(measured.images, measured.annotations, measured.categories, info, output)
    save_index(index)
    for what, count in index.info["notes"].items():
        cli.log.info("noted: %d × %s", count, what)
    cli.log.info("%s: %d images, %d boxes", output, len(index.images), len(index.annotations))
    return index


def _relative(folder: Path, start: Path) -> str:
    # Links are resolved first: "..", below a linked folder, is not the parent that its name shows.
    return Path(os.path.relpath(os.path.realpath(folder), os.path.realpath(start))).as_posix()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
