"""h's own boxes (bracketed in the tables): its most confident one for each image, from maps of f.

Of heatmaps instead all that it takes for objects, for each phrase (paper section 5).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions
from bbr.data.box_ops import clip_boxes, denormalize_boxes, to_xywh
from bbr.data.index import load_index
from bbr.data.loading import chunks
from bbr.detector.layout import arrange
from bbr.detector.networks import load_detector, require_channels
from bbr.detector.set_loss import UNDECIDED, choose_boxes
from bbr.errors import InputError
from bbr.grounding.heatmap_inputs import HeatmapInputs, open_inputs
from bbr.options import option, recorded
from bbr.storage.boxes_json import write_boxes
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    detector: Path = option(help="h, .safetensors")
    inputs: Path = option(help="detector_inputs.h5, or heatmaps.h5")
    index: Path = option(help="index.json")
    output: Path = option(help="boxes.json")


@dataclass(frozen=True)
class Batches:
    """How much at once."""

    batch_size: int = option(64, "seen by a network at once", unit="maps", min=1)


EDGES = ("clipped", "free", "whole")


@dataclass(frozen=True)
class Answers:
    """What is made of h's answers."""

    undecided: str = option(
        "likeliest",
        "of a heatmap in which h takes nothing for an object: its likeliest box, or none as in the"
        " released code",
        choices=UNDECIDED,
        later=True,
    )
    edges: str = option(
        "clipped",
        "of h's own boxes: clipped to the image; or as in the released code, which leaves them free"
        " in grounding, and in discovery truncates those to whole pixels",
        choices=EDGES,
        later=True,
    )


@torch.inference_mode()
def run(*, files: Files, batches: Batches, answers: Answers, compute: ComputeOptions) -> None:
    """Write boxes.json, a box's score h's probability of an object.

    Raises:
        InputError: the inputs are of other images than the index, or not h's kind.
    """
    place = choose_device(compute.device)
    network = load_detector(files.detector).to(place)
    dataset = load_index(files.index)
    sizes = {image["id"]: dataset.image_size(image) for image in dataset.images}
    records = []
    with open_inputs(files.inputs) as cached:
        require_channels(network, cached.shape, files.inputs)
        if set(cached.image_id.tolist()) - set(sizes):
            raise InputError(f"inputs {files.inputs}: of images that {files.index} does not have")
        parts = list(chunks(range(len(cached)), batches.batch_size))
        for positions in cli.progress(parts, len(parts), "batches of maps"):
            maps = arrange(cached.batch(torch.tensor(positions)), cached.grid, network.spec.layout)
            with autocast(place, compute.precision):
                logits, boxes = network(maps.to(place))
            chosen = choose_boxes(
                logits.float(), boxes.float(), isinstance(cached, HeatmapInputs), answers.undecided
            )
            for position, (scores, best) in zip(positions, chosen, strict=True):
                of_map = {"image_id": int(cached.image_id[position])}
                if isinstance(cached, HeatmapInputs):
                    of_map["phrase_id"] = int(cached.phrase_id[position])
                size = sizes[of_map["image_id"]]
                xywh = to_xywh(_in_pixels(best.cpu(), size, answers.edges)).tolist()
                records += [
                    {**of_map, "bbox": box, "score": score}
                    for box, score in zip(xywh, scores.tolist(), strict=True)
                ]
    record = provenance(
        "predict_boxes",
        {"precision": compute.precision, **recorded(answers)},
        {"detector": files.detector, "inputs": files.inputs, "index": files.index},
        device_name(place),
    )
    write_boxes(files.output, records, record)


def _in_pixels(boxes: Tensor, size: tuple[int, int], edges: str) -> Tensor:
    """Boxes (n, 4), cxcywh in fractions, as xyxy in pixels of an image of (height, width)."""
    pixels = denormalize_boxes(boxes, size)
    if edges == "clipped":
        return clip_boxes(pixels, size)
    return pixels.int().float() if edges == "whole" else pixels


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
