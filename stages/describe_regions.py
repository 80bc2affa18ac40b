"""Say what is in each image of an index, and roughly where, from the image alone.

Regions are proposed, a captioner describes each, and captions that say the same become one
description, by the one that is nearest to all. The output is an index of the same images with what
was found as their `phrases`, so that extract_heatmaps.py and heatmap_boxes.py locate it; beside the
phrases `regions` has those whose captions each stands for ([x, y, width, height] in pixels). No
ground truth is read, and none is in the output.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import numpy as np

from bbr.captioning.blip import (
    Captioner,
    CaptionOptions,
    add_captioner_options,
    load_captioner,
    weights_of,
)
from bbr.captioning.communities import CommunityOptions, add_community_options
from bbr.captioning.describing import Describer, Description
from bbr.captioning.proposals import ProposalOptions, add_proposal_options
from bbr.clip.network import Clip, add_clip_options, take_clip
from bbr.command_line import cli
from bbr.command_line.cli import log
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.data.images import UnreadableImage, read_indexed
from bbr.data.index import Index, load_index, parse_shard, save_index
from bbr.data.loading import chunks
from bbr.errors import InputError
from bbr.journal import Journal
from bbr.storage.provenance import provenance

_IMAGES_AT_ONCE = 4  # their crops share batches; a killed run does at most as many again
_DECIMALS = 2
_OPTIONS = {"proposals": ProposalOptions, "captions": CaptionOptions,
            "communities": CommunityOptions}  # fmt: skip


def run(
    *,
    index: Path,
    output: Path,
    captioner: str,
    shard: tuple[int, int],
    image_size: int,
    same_iou: float | None,
    batch_size: int,
    max_skipped: int,
    device: str,
    precision: str,
    **rest: Any,
) -> None:
    """Write the described images of a shard as an index.

    Raises:
        InputError: more than `max_skipped` images cannot be read, or weights do not fit.
    """
    place = choose_device(device)
    clip, used, clip_file = take_clip(rest)
    options = {name: _take(kind, rest) for name, kind in _OPTIONS.items()}
    parameters = {**used, "shard": list(shard), "image_size": image_size, "same_iou": same_iou,
                  "captioner": "file" if weights_of(captioner) else captioner,
                  "precision": precision} | {k: vars(v) for k, v in options.items()}  # fmt: skip
    inputs = {"index": index, "clip": clip_file, "captioner": weights_of(captioner)}
    record = provenance("describe_regions", parameters, inputs, device_name(place))
    talker: Captioner = load_captioner(captioner).to(place)
    reader: Clip = clip.to(place)
    describer = Describer(
        talker, reader, **options, image_size=image_size, same_iou=same_iou, batch_size=batch_size
    )
    dataset = load_index(index)
    groups = list(chunks(dataset.shard(*shard), _IMAGES_AT_ONCE))
    journal = Journal(output, record)
    done: list[dict[str, Any]] = journal.resume()
    left = groups[len(done) :]
    for group in cli.progress(left, len(left), f"groups of {_IMAGES_AT_ONCE} images"):
        with autocast(place, precision):
            done.append(_describe(group, dataset, describer))
        _refuse_many_skipped(done, max_skipped, index)
        for entry in done[-1]["skipped"]:
            log.warning("skipped: image %d, %s", entry["image_id"], entry["reason"])
        journal.append(done[-1])
    _log_seconds(describer, sum(map(len, left)))
    _write(output, dataset, done, record)
    journal.discard()


def _take(kind: type, options: dict[str, Any]) -> Any:
    values = {field.name: options.pop(field.name) for field in fields(kind)}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _describe(
    group: list[dict[str, Any]], dataset: Index, describer: Describer
) -> dict[str, list[dict[str, Any]]]:
    """The described images of a group, and those that could not be read."""
    readable: list[tuple[dict[str, Any], np.ndarray]] = []
    skipped = []
    for image in group:
        try:
            readable.append((image, read_indexed(dataset.image_path(image), image)))
        except UnreadableImage as error:
            skipped.append({"image_id": image["id"], "reason": error.reason})
    found = describer.describe([pixels for _, pixels in readable])
    images = [
        _described(image, pixels, own) for (image, pixels), own in zip(readable, found, strict=True)
    ]
    return {"images": images, "skipped": skipped}


def _described(
    image: dict[str, Any], pixels: np.ndarray, found: list[Description]
) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    return {
        "id": image["id"],
        "file_name": image["file_name"],
        "width": width,
        "height": height,
        "phrases": [description.caption for description in found],
        "regions": [_xywh(description.regions) for description in found],
    }


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    return np.hstack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2])).round(_DECIMALS).tolist()


def _refuse_many_skipped(done: list[dict[str, Any]], most: int, index: Path) -> None:
    skipped = [entry for group in done for entry in group["skipped"]]
    if len(skipped) > most:
        raise InputError(
            f"{index}: {len(skipped)} images cannot be read (last: {skipped[-1]['image_id']},"
            f" {skipped[-1]['reason']}); mend them, index again, or raise --max-skipped"
        )


def _log_seconds(describer: Describer, images: int) -> None:
    if images:
        steps = (f"{step} {s / images:.3f}" for step, s in describer.seconds.items())
        log.info("seconds an image: %s", ", ".join(steps))


def _write(
    output: Path, dataset: Index, done: list[dict[str, Any]], record: dict[str, Any]
) -> None:
    root = dataset.image_root_from(output.parent)
    skipped = [entry for group in done for entry in group["skipped"]]
    info = {"image_root": root, "provenance": record, "skipped": skipped}
    images = [image for group in done for image in group["images"]]
    save_index(Index(images, [], [], info, output))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    add_captioner_options(parser)
    add_clip_options(parser)
    parser.add_argument("--output", type=Path, required=True, help="the described index, .json")
    parser.add_argument("--shard", type=parse_shard, default=(0, 1), metavar="i/n",
                        help="this part of the images only, i from 0 [0/1]")  # fmt: skip
    parser.add_argument("--image-size", type=cli.positive_int, default=224,
                        help="side in pixels to which images are resized first [224]")  # fmt: skip
    add_proposal_options(parser)
    parser.add_argument("--same-iou", type=cli.open_fraction,
                        help="regions that overlap so much share a caption [none]")  # fmt: skip
    add_community_options(parser)
    parser.add_argument("--batch-size", type=cli.positive_int, default=32, help="crops [32]")
    parser.add_argument("--max-skipped", type=cli.non_negative_int, default=0,
                        help="unreadable images to tolerate [0]")  # fmt: skip
    cli.add_device_options(parser)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
