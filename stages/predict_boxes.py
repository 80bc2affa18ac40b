"""h's own boxes (bracketed in the tables): its most confident one for each image, from maps of f.

Of heatmaps instead all that it takes for objects, for each phrase (paper section 5).
"""

from __future__ import annotations

import sys
from pathlib import Path

import bbr.command_line.fast_import

import torch

from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.data.box_ops import clip_boxes, denormalize_boxes, to_xywh
from bbr.data.index import load_index
from bbr.data.loading import chunks
from bbr.detector.layout import arrange
from bbr.detector.networks import load_detector, require_channels
from bbr.detector.set_loss import choose_boxes
from bbr.errors import InputError
from bbr.grounding.heatmap_inputs import HeatmapInputs, open_inputs
from bbr.storage.boxes_json import write_boxes
from bbr.storage.provenance import provenance


@torch.inference_mode()
def run(
    *,
    detector: Path,
    inputs: Path,
    index: Path,
    output: Path,
    batch_size: int,
    device: str,
    precision: str,
) -> None:
    """Write boxes.json, a box's score h's probability of an object.

    Raises:
        InputError: the inputs are of other images than the index, or not h's kind.
    """
    place = choose_device(device)
    network = load_detector(detector).to(place)
    dataset = load_index(index)
    sizes = {image["id"]: dataset.image_size(image) for image in dataset.images}
    records = []
    with open_inputs(inputs) as cached:
        require_channels(network, cached.shape, inputs)
        if set(cached.image_id.tolist()) - set(sizes):
            raise InputError(f"inputs {inputs}: of images that {index} does not have")
        batches = list(chunks(range(len(cached)), batch_size))
        for positions in cli.progress(batches, len(batches), "batches of maps"):
            maps = arrange(cached.batch(torch.tensor(positions)), cached.grid, network.spec.layout)
            with autocast(place, precision):
                logits, boxes = network(maps.to(place))
            chosen = choose_boxes(logits.float(), boxes.float(), isinstance(cached, HeatmapInputs))
            for position, (scores, best) in zip(positions, chosen, strict=True):
                of_map = {"image_id": int(cached.image_id[position])}
                if isinstance(cached, HeatmapInputs):
                    of_map["phrase_id"] = int(cached.phrase_id[position])
                size = sizes[of_map["image_id"]]
                pixels = clip_boxes(denormalize_boxes(best.cpu(), size), size)
                xywh = to_xywh(pixels).tolist()
                records += [
                    {**of_map, "bbox": box, "score": score}
                    for box, score in zip(xywh, scores.tolist(), strict=True)
                ]
    record = provenance(
        "predict_boxes",
        {"precision": precision},
        {"detector": detector, "inputs": inputs, "index": index},
        device_name(place),
    )
    write_boxes(output, records, record)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--detector", type=Path, required=True, help="h, .safetensors")
    parser.add_argument(
        "--inputs", type=Path, required=True, help="detector_inputs.h5, or heatmaps.h5"
    )
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="boxes.json")
    parser.add_argument("--batch-size", type=cli.positive_int, default=64)
    cli.add_device_options(parser)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
