"""Boxes of an index's phrases by a network that learned from boxes of phrases: an upper bound.

The folder in --weights is as transformers' save_pretrained writes it; nothing is fetched. A phrase
id has one box: that of highest score over all its sentences. No ground truth is read.
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
from bbr.data.index import ShardOptions, load_index
from bbr.grounding.texts import Entry, by_image, entries
from bbr.options import all_recorded, option
from bbr.storage.boxes_json import Record, write_boxes
from bbr.storage.provenance import provenance
from bbr.upper_bounds.folders import weights_in
from bbr.upper_bounds.registry import NETWORKS, load_phrase_detector


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    weights: Path = option(help="folder of the network's files")
    output: Path = option(help="boxes.json")


@dataclass(frozen=True)
class Detection:
    """Which network, and how much at once."""

    network: str = option(help="what finds the boxes", choices=NETWORKS)
    batch_size: int = option(8, "phrases of one image seen at once", unit="phrases", min=1)


def run(*, files: Files, options: Detection, part: ShardOptions, compute: ComputeOptions) -> None:
    """Write boxes.json of one shard of an index: COCO results, each with its phrase_id.

    Raises:
        InputError: the index has no phrases, an image cannot be read, or the folder is not whole or
            another network's.
    """
    place = choose_device(compute.device)
    dataset = load_index(files.index)
    detector = load_phrase_detector(options.network, files.weights).to(place)
    kept = {image["id"] for image in dataset.shard(*part.shard)}
    groups = by_image([e for e in entries(dataset, "phrases") if e.image_id in kept])
    records: list[Record] = []
    for group in cli.progress(groups, len(groups), "images"):
        image = dataset.images[group[0].position]
        pixels = read_indexed(dataset.image_path(image), image)
        texts = [sentence for entry in group for sentence in entry.sentences]
        with autocast(place, compute.precision):
            boxes, scores = detector.detect(pixels, texts, options.batch_size)
        records += _best(group, boxes.tolist(), scores.tolist())
    # How much is seen at once changes nothing.
    parameters = all_recorded({"network": options.network}, part, compute)
    inputs = {"index": files.index, "weights": weights_in(files.weights)}
    record = provenance("detect_phrases", parameters, inputs, device_name(place))
    write_boxes(files.output, records, record)


def _best(group: list[Entry], boxes: list[list[float]], scores: list[float]) -> list[Record]:
    """One record for each entry of an image, of its best sentence; the first of them on ties."""
    found = iter(zip(scores, boxes, strict=True))
    records = []
    for entry in group:
        own = [next(found) for _ in entry.sentences]
        score, (x1, y1, x2, y2) = max(own, key=lambda each: each[0])
        unit = {"image_id": entry.image_id, "phrase_id": entry.phrase_id}
        records.append({**unit, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    return records


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
