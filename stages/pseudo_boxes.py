"""Propose one box per image, or several, from f's patch features by a heuristic.

Reads any features.h5 of the documented layout, wherever it was made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import bbr.command_line.fast_import

import numpy as np

from bbr.backbones.feature_maps import FeatureMaps
from bbr.backbones.features_h5 import FeatureFile
from bbr.command_line import cli
from bbr.command_line.devices import choose_device, device_name
from bbr.command_line.memory import naming
from bbr.command_line.run_options import DeviceOptions
from bbr.errors import InputError
from bbr.heuristics.multi_box import SEVERAL, WITH_MASKS, Proposal, propose_scored
from bbr.heuristics.registry import Heuristic
from bbr.options import option, recorded
from bbr.storage.boxes_json import write_boxes
from bbr.storage.provenance import provenance
from bbr.storage.rle import Rle, encode_mask


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    features: Path = option(help="features.h5")
    output: Path = option(help="boxes.json")


@dataclass(frozen=True)
class Amounts:
    """How many boxes, of how many images at once."""

    max_boxes: int = option(1, f"of an image; several by {', '.join(SEVERAL)} only", min=1)
    batch_size: int = option(32, "read at once", unit="images", min=1)
    masks: bool = option(
        False, "with each box the mask that it was drawn around, as COCO's run lengths", later=True
    )


def run(*, heuristic: Heuristic, files: Files, amounts: Amounts, device: DeviceOptions) -> None:
    """Write boxes.json (COCO results), in the order of the features' images.

    Scores say how far objects stand out (`bbr.heuristics.multi_box`); 1 of methods without a mask.

    Raises:
        InputError: an unknown method or option, or a features file that is not whole.
    """
    if amounts.masks and heuristic.method not in WITH_MASKS:
        raise InputError(f"--masks: {heuristic.method} has none; {', '.join(WITH_MASKS)} have")
    place = choose_device(device.device)
    method, options = heuristic.method, heuristic.options
    found: dict[int, list[Found]] = {}
    with FeatureFile(files.features) as file:
        order, skipped = file.image_id.tolist(), file.skipped
        sizes = dict(zip(order, file.full_size.tolist(), strict=True))
        batches = file.batches(amounts.batch_size, place)
        for batch in cli.progress(batches, None, "batches of images"):
            with naming(partial(_described, batch)):
                proposed = propose_scored(batch, method, options, amounts.max_boxes)
            # As run lengths: masks of cells, of all images, would take gigabytes.
            for i, seen, several in zip(batch.image_ids, batch.sizes, proposed, strict=True):
                found[i] = [_found(each, seen, sizes[i], amounts.masks) for each in several]
        boxes = file.enlarge({i: [each.box for each in found[i]] for i in order})
        records = [
            {"image_id": i, "category_id": 1, "bbox": _xywh(box), "score": each.score} | each.mask
            for i in order
            for box, each in zip(boxes[i].tolist(), found[i], strict=True)
        ]
    parameters = {"method": method, **recorded(options), "max_boxes": amounts.max_boxes}
    parameters |= {"masks": True} if amounts.masks else {}
    inputs = {"features": files.features}
    record = provenance("pseudo_boxes", parameters, inputs, device_name(place))
    write_boxes(files.output, records, record, skipped)


def _described(batch: FeatureMaps) -> str:
    """A batch in a few words, should memory not suffice for it."""
    (height, width), patches = batch.sizes[0].tolist(), batch.grid[0] * batch.grid[1]
    others = f" and {len(batch.key) - 1} of its grid" if len(batch.key) > 1 else ""
    return f"image {batch.image_ids[0]} ({width}×{height} pixels, {patches} patches){others}"


class Found(NamedTuple):
    """What is kept of a proposal; `mask` is what it adds to a record, perhaps nothing."""

    box: list[float]
    score: float
    mask: dict[str, Rle]


def _found(proposal: Proposal, seen: np.ndarray, size: list[int], masks: bool) -> Found:
    """What is kept of it; its mask at the size of its image."""
    box, score, mask = proposal
    if mask is None or not masks:
        return Found(box, score, {})
    return Found(box, score, {"segmentation": encode_mask(mask.in_image(seen, (size[0], size[1])))})


def _xywh(box: list[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
