"""All boxes that CAD finds in each image, with their scores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import numpy as np
import torch

from bbr.cad.network import Cad, load_cad
from bbr.cad.options import CadPrediction
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions, SkipOptions
from bbr.data.box_ops import to_xywh
from bbr.data.images import UnreadableImage
from bbr.data.index import load_index
from bbr.data.loading import groups_of_equal, native_size_windows, to_tensor
from bbr.errors import InputError
from bbr.options import option
from bbr.storage.boxes_json import Record, write_boxes
from bbr.storage.provenance import provenance

_WINDOW = 64


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    cad: Path = option(help="made by train_cad.py")
    index: Path = option(help="index.json")
    output: Path = option(help="boxes.json")


@dataclass(frozen=True)
class Batches:
    """How much at once."""

    batch_size: int = option(8, "seen by a network at once", unit="images", min=1)


def run(
    *,
    files: Files,
    prediction: CadPrediction,
    batches: Batches,
    skips: SkipOptions,
    compute: ComputeOptions,
) -> None:
    """Write boxes.json: every box above the score threshold, those of an image best first.

    Raises:
        InputError: not a CAD, or more than `max_skipped` images cannot be read.
    """
    place = choose_device(compute.device)
    network = load_cad(files.cad, prediction).to(place)
    dataset = load_index(files.index)
    records: list[Record] = []
    skipped: list[dict[str, Any]] = []
    windows = native_size_windows(dataset, dataset.images, _WINDOW)
    total = -(-len(dataset.images) // _WINDOW)
    for window in cli.progress(windows, total, f"windows of {_WINDOW} images"):
        failed = [(image, e) for image, e in window if isinstance(e, UnreadableImage)]
        skipped += [{"image_id": image["id"], "reason": e.reason} for image, e in failed]
        if len(skipped) > skips.max_skipped:
            raise InputError(
                f"{files.index}: {len(skipped)} images cannot be read (last: {failed[-1][1]});"
                " mend them, files.index again, or raise --max-skipped"
            )
        readable = [(image, item) for image, item in window if isinstance(item, np.ndarray)]
        pixels = [item for _, item in readable]
        found = dict(_detect(network, pixels, batches.batch_size, place, compute.precision))
        for position, (image, _) in enumerate(readable):
            records += _records(image["id"], found[position])
    parameters = {
        **asdict(prediction),
        "batch_size": batches.batch_size,
        "precision": compute.precision,
    }
    sources = {"cad": files.cad, "index": files.index}
    record = provenance("predict_cad", parameters, sources, device_name(place))
    write_boxes(files.output, records, record, skipped)


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
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
