"""Propose one box per image, or several, from f's patch features by a heuristic.

Reads any features.h5 of the documented layout, wherever it was made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import numpy as np

from bbr.backbones.feature_maps import FeatureMaps
from bbr.backbones.features_h5 import FeatureFile
from bbr.command_line import cli
from bbr.command_line.devices import choose_device, device_name
from bbr.command_line.memory import naming
from bbr.command_line.run_options import DeviceOptions
from bbr.data.images import read_indexed
from bbr.data.index import load_index
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
    index: Path | None = option(None, "index.json of the images, for --sharpen")


@dataclass(frozen=True)
class Amounts:
    """How many boxes, of how many images at once."""

    max_boxes: int = option(1, f"of an image; several by {', '.join(SEVERAL)} only", min=1)
    batch_size: int = option(32, "read at once", unit="images", min=1)
    masks: bool = option(
        False, "with each box the mask that it was drawn around, as COCO's run lengths", later=True
    )
    sharpen: bool = option(
        False, "edges of masks follow those of the image, by a guided filter", later=True
    )


def run(*, heuristic: Heuristic, files: Files, amounts: Amounts, device: DeviceOptions) -> None:
    """Write boxes.json (COCO results), in the order of the features' images.

    Scores say how far objects stand out (`bbr.heuristics.multi_box`); 1 of methods without a mask.

    Raises:
        InputError: an unknown method or option, or a features file that is not whole.
    """
    if amounts.masks and heuristic.method not in WITH_MASKS:
        raise InputError(f"--masks: {heuristic.method} has none; {', '.join(WITH_MASKS)} have")
    photographs = _photographs(files, amounts)
    place = choose_device(device.device)
    method, options = heuristic.method, heuristic.options
    found: dict[int, list[tuple[list[float], dict[str, Any]]]] = {}
    with FeatureFile(files.features) as file:
        order, skipped = file.image_id.tolist(), file.skipped
        sizes = dict(zip(order, file.full_size.tolist(), strict=True))
        batches = file.batches(amounts.batch_size, place)
        for batch in cli.progress(batches, None, "batches of images"):
            with naming(partial(_described, batch)):
                proposed = propose_scored(batch, method, options, amounts.max_boxes)
            # As run lengths: masks of cells, of all images, would take gigabytes.
            for i, seen, several in zip(batch.image_ids, batch.sizes, proposed, strict=True):
                masks = _masks(several, seen, sizes[i], photographs(i)) if amounts.masks else {}
                found[i] = [
                    (each.box, {"score": each.score} | masks.get(place, {}))
                    for place, each in enumerate(several)
                ]
        boxes = file.enlarge({i: [box for box, _ in found[i]] for i in order})
        records = [
            {"image_id": i, "category_id": 1, "bbox": _xywh(box)} | more
            for i in order
            for box, (_, more) in zip(boxes[i].tolist(), found[i], strict=True)
        ]
    parameters = {"method": method, **recorded(options), "max_boxes": amounts.max_boxes}
    parameters |= {name: True for name in ("masks", "sharpen") if getattr(amounts, name)}
    inputs = {"features": files.features, "index": files.index}
    record = provenance("pseudo_boxes", parameters, inputs, device_name(place))
    write_boxes(files.output, records, record, skipped)


def _described(batch: FeatureMaps) -> str:
    """A batch in a few words, should memory not suffice for it."""
    (height, width), patches = batch.sizes[0].tolist(), batch.grid[0] * batch.grid[1]
    others = f" and {len(batch.key) - 1} of its grid" if len(batch.key) > 1 else ""
    return f"image {batch.image_ids[0]} ({width}×{height} pixels, {patches} patches){others}"


def _photographs(files: Files, amounts: Amounts) -> Callable[[int], np.ndarray | None]:
    """The pixels (H, W, 3) uint8 of an image by its id; None where masks are not to follow them.

    Raises:
        InputError: they are, but there are no masks, or it is not said where the images are.
    """
    if not amounts.sharpen:
        return lambda image_id: None
    if not amounts.masks or files.index is None:
        raise InputError("--sharpen: needs --masks, and the images: add --index index.json")
    index = load_index(files.index)
    images = {image["id"]: image for image in index.images}
    return lambda image_id: read_indexed(index.image_path(images[image_id]), images[image_id])


def _masks(
    proposals: list[Proposal], seen: np.ndarray, size: list[int], pixels: np.ndarray | None
) -> dict[int, dict[str, Rle]]:
    """What masks add to the records of an image's boxes, by their place; at the image's size."""
    found = {}
    for place, proposal in enumerate(proposals):
        if proposal.mask is not None:
            mask = proposal.mask.in_image(seen, (size[0], size[1]))
            if pixels is not None:
                # OpenCV takes a tenth of a second to import.
                from bbr.heuristics.mask_edges import follow_edges

                mask = follow_edges(mask, pixels, proposal.mask.cell.mean() * size[0] / seen[0])
            found[place] = {"segmentation": encode_mask(mask)}
    return found


def _xywh(box: list[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
