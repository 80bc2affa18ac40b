"""Say what is in each image of an index, and roughly where, from the image alone.

Regions are proposed, a captioner describes each, and captions that say the same become one
description, by the one that is nearest to all. The output is an index of the same images with what
was found as their `phrases`, so that extract_heatmaps.py and heatmap_boxes.py locate it; beside the
phrases `regions` has those whose captions each stands for ([x, y, width, height] in pixels). No
ground truth is read, and none is in the output.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.captioning.blip import (
    Captioner,
    CaptionOptions,
    load_captioner,
    weights_of,
)
from bbr.captioning.communities import CommunityOptions
from bbr.captioning.described_images import DescribedImages, describe_images
from bbr.captioning.describing import Describer
from bbr.captioning.proposals import ProposalOptions
from bbr.clip.network import ClipOptions
from bbr.command_line import cli
from bbr.command_line.cli import log
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions, SkipOptions
from bbr.data.index import ShardOptions, load_index
from bbr.data.loading import chunks
from bbr.options import all_recorded, option, recorded
from bbr.storage.provenance import provenance

_IMAGES_AT_ONCE = 4  # their crops share batches


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    captioner: str = option(help="weights: a file of ours, or BLIP's folder or hub name")
    output: Path = option(help="the described index, .json")


@dataclass(frozen=True)
class Work:
    """What is looked at, and how much at once."""

    image_size: int = option(224, "side to which images are resized first", unit="px", min=1)
    same_iou: float | None = option(
        None, "regions that overlap so much share a caption [none]", above=0, below=1
    )
    batch_size: int = option(32, "seen at once", unit="crops", min=1)
    bare_captions: bool = option(
        False, 'captions are compared without "image of ", as in WWbL\'s code', later=True
    )

    def recorded(self) -> dict[str, Any]:
        """What the provenance says; how much is seen at once changes nothing."""
        said = recorded(self)
        return {name: value for name, value in said.items() if name != "batch_size"}


def run(
    *,
    files: Files,
    clip: ClipOptions,
    part: ShardOptions,
    work: Work,
    proposals: ProposalOptions,
    captions: CaptionOptions,
    communities: CommunityOptions,
    skips: SkipOptions,
    compute: ComputeOptions,
) -> None:
    """Write the described images of a shard as an index.

    Raises:
        InputError: more than `max_skipped` images cannot be read, or weights do not fit.
    """
    place = choose_device(compute.device)
    options = {"proposals": proposals, "captions": captions, "communities": communities}
    captioner = weights_of(files.captioner)
    named = {"captioner": "file" if captioner else files.captioner}
    parameters = all_recorded(clip, part, work, compute, named, **options)
    inputs = {"index": files.index, "clip": clip.file, "captioner": captioner}
    record = provenance("describe_regions", parameters, inputs, device_name(place))
    talker: Captioner = load_captioner(files.captioner).to(place)
    describer = Describer(
        talker,
        clip.load().to(place),
        **options,
        image_size=work.image_size,
        same_iou=work.same_iou,
        batch_size=work.batch_size,
        bare=work.bare_captions,
    )
    dataset = load_index(files.index)
    groups = list(chunks(dataset.shard(*part.shard), _IMAGES_AT_ONCE))
    done = DescribedImages([], [])
    for group in cli.progress(groups, len(groups), f"groups of {_IMAGES_AT_ONCE} images"):
        with autocast(place, compute.precision):
            found = describe_images(group, dataset, describer)
        done.add(found, skips.max_skipped, files.index)
        for entry in found.skipped:
            log.warning("skipped: image %d, %s", entry["image_id"], entry["reason"])
    _log_seconds(describer, sum(map(len, groups)))
    done.save(files.output, dataset, record)


def _log_seconds(describer: Describer, images: int) -> None:
    if images:
        steps = (f"{step} {s / images:.3f}" for step, s in describer.seconds.items())
        log.info("seconds an image: %s", ", ".join(steps))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
