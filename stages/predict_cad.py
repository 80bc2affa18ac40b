"""All boxes that CAD finds in each image, with their scores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import numpy as np
import torch

from bbr.cad.network import Cad, load_cad
from bbr.cad.options import CadPrediction
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.data.box_ops import to_xywh
from bbr.data.images import UnreadableImage
from bbr.data.index import load_index
from bbr.data.loading import groups_of_equal, native_size_windows, to_tensor
from bbr.errors import InputError
from bbr.storage.boxes_json import Record, write_boxes
from bbr.storage.provenance import provenance

_WINDOW = 64


def run(
    *,
    cad: Path,
    index: Path,
    output: Path,
    batch_size: int,
    max_skipped: int,
    device: str,
    precision: str,
    **rest: Any,
) -> None:
    """Write boxes.json: every box above the score threshold, those of an image best first.

    Raises:
        InputError: not a CAD, or more than `max_skipped` images cannot be read.
    """
    options = {field.name: rest.pop(field.name) for field in fields(CadPrediction)}
    options["test_proposals"] = tuple(options["test_proposals"])
    prediction = CadPrediction(**options)
    place = choose_device(device)
    network = load_cad(cad, prediction).to(place)
    dataset = load_index(index)
    records: list[Record] = []
    skipped: list[dict[str, Any]] = []
    windows = native_size_windows(dataset, dataset.images, _WINDOW)
    total = -(-len(dataset.images) // _WINDOW)
    for window in cli.progress(windows, total, f"windows of {_WINDOW} images"):
        failed = [(image, e) for image, e in window if isinstance(e, UnreadableImage)]
        skipped += [{"image_id": image["id"], "reason": e.reason} for image, e in failed]
        if len(skipped) > max_skipped:
            raise InputError(
                f"{index}: {len(skipped)} images cannot be read (last: {failed[-1][1]});"
                " mend them, index again, or raise --max-skipped"
            )
        readable = [(image, item) for image, item in window if isinstance(item, np.ndarray)]
        pixels = [item for _, item in readable]
        found = dict(_detect(network, pixels, batch_size, place, precision))
        for position, (image, _) in enumerate(readable):
            records += _records(image["id"], found[position])
    parameters = {**asdict(prediction), "batch_size": batch_size, "precision": precision}
    sources = {"cad": cad, "index": index}
    record = provenance("predict_cad", parameters, sources, device_name(place))
    write_boxes(output, records, record, skipped)


@torch.inference_mode()
def _detect(
    network: Cad, images: list[np.ndarray], batch_size: int, place: torch.device, precision: str
) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
    """Position and detections of each image; images of one size go together, without padding."""
    for group in groups_of_equal(range(len(images)), lambda i: images[i].shape, batch_size):
        with autocast(place, precision):
            seen = network.see([to_tensor(images[i]).to(place) for i in group])
            detections = network(seen)
        sizes = [images[i].shape[:2] for i in group]
        yield from zip(group, network.restore(detections, seen, sizes), strict=True)


def _records(image_id: int, detections: dict[str, torch.Tensor]) -> list[Record]:
    xywh = to_xywh(detections["boxes"]).tolist()
    scores = detections["scores"].tolist()
    return [
        {"image_id": image_id, "bbox": box, "score": score}
        for box, score in zip(xywh, scores, strict=True)
    ]


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    default = CadPrediction()
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--cad", type=Path, required=True, help="made by train_cad.py")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="boxes.json")
    parser.add_argument("--test-size", type=cli.positive_int, default=default.test_size,
                        help="shortest side of a resized image [800]")  # fmt: skip
    parser.add_argument("--test-proposals", type=cli.positive_int, nargs=2,
                        metavar=("BEFORE", "AFTER"), default=default.test_proposals,
                        help="NMS [6000 1000]")  # fmt: skip
    parser.add_argument("--score-threshold", type=float, default=default.score_threshold)
    parser.add_argument("--nms-threshold", type=float, default=default.nms_threshold,
                        help="IoU above which the lower score is dropped [0.4]")  # fmt: skip
    parser.add_argument("--max-boxes", type=cli.positive_int, default=default.max_boxes,
                        help="of an image [100]")  # fmt: skip
    parser.add_argument("--batch-size", type=cli.positive_int, default=8)
    parser.add_argument("--max-skipped", type=cli.non_negative_int, default=0,
                        help="unreadable images to tolerate [0]")  # fmt: skip
    cli.add_device_options(parser)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
