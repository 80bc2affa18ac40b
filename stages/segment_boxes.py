"""The mask of each box by Segment Anything, a network that learned from masks: an upper bound.

The folder in --weights is as transformers' save_pretrained writes it; nothing is fetched. Boxes and
scores stay as they are; masks that they had are replaced. No ground truth is read.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions
from bbr.data.images import read_indexed
from bbr.data.index import load_index
from bbr.options import option
from bbr.storage.boxes_json import (
    Record,
    box_xyxy,
    boxes_by_image,
    read_boxes,
    read_meta,
    require_known_images,
    write_boxes,
)
from bbr.storage.provenance import provenance
from bbr.storage.rle import encode_mask
from bbr.upper_bounds.folders import weights_in
from bbr.upper_bounds.sam import Sam


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    boxes: Path = option(help="COCO results")
    weights: Path = option(help="folder of SAM's files")
    output: Path = option(help="boxes.json with masks")


@dataclass(frozen=True)
class Segmentation:
    """How much at once."""

    batch_size: int = option(8, "boxes of one image seen at once", unit="boxes", min=1)


def run(*, files: Files, options: Segmentation, compute: ComputeOptions) -> None:
    """Write boxes.json with the `segmentation` of each box, in the order of the boxes.

    Raises:
        InputError: an image cannot be read, boxes are of other images, or the folder is not whole
            or another network's.
    """
    place = choose_device(compute.device)
    dataset, records = load_index(files.index), read_boxes(files.boxes)
    images = {image["id"]: image for image in dataset.images}
    require_known_images(records, images, files.boxes)
    network = Sam(files.weights).to(place)
    groups = boxes_by_image(records)
    made: dict[int, list[Record]] = {}
    for image_id, own in cli.progress(list(groups.items()), len(groups), "images"):
        pixels = read_indexed(dataset.image_path(images[image_id]), images[image_id])
        with autocast(place, compute.precision):
            masks = network.segment(pixels, [box_xyxy(each) for each in own], options.batch_size)
            made[image_id] = [
                {**each, "segmentation": encode_mask(mask)}
                for each, mask in zip(own, masks, strict=True)
            ]
    inputs = {"index": files.index, "boxes": files.boxes, "weights": weights_in(files.weights)}
    # How much is seen at once changes nothing.
    record = provenance("segment_boxes", compute.recorded(), inputs, device_name(place))
    ordered = [made[each["image_id"]].pop(0) for each in records]
    write_boxes(files.output, ordered, record, read_meta(files.boxes)["skipped"])


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
