"""Discover one object per image by looking at a whole collection of images at once.

  ddt  deep descriptor transforming; with --second-features, the features of an earlier layer, DDT+
  lod  ranking of region proposals over the graph of their matches

Name the features of all shards: the result is that of the collection, whatever its shards. Both
methods want descriptors as the network gives them (extract_features.py --normalization none).
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.backbones.feature_collection import FeatureCollection
from bbr.baselines.collection_methods import METHODS, discover_boxes
from bbr.baselines.lod import LodOptions
from bbr.command_line import cli
from bbr.command_line.devices import choose_device, device_name
from bbr.command_line.run_options import DeviceOptions
from bbr.options import option
from bbr.storage.boxes_json import write_boxes
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Method:
    """The method."""

    method: str = option(help=", ".join(METHODS))


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    features: tuple[Path, ...] = option(help="features.h5 of each shard")
    output: Path = option(help="boxes.json")
    second_features: tuple[Path, ...] | None = option(
        None, "ddt: the same of a second layer, of the same grids"
    )


@dataclass(frozen=True)
class Batches:
    """How much at once."""

    batch_size: int = option(32, "seen by a network at once", unit="images", min=1)


def run(
    *, method: Method, files: Files, lod: LodOptions, batches: Batches, device: DeviceOptions
) -> None:
    """Write boxes.json (COCO results), sorted by image id.

    Raises:
        InputError: an unknown method, or features that are not whole or do not fit together.
    """
    place = choose_device(device.device)
    second_paths = files.second_features or []
    with ExitStack() as stack:
        first = stack.enter_context(FeatureCollection(files.features))
        second = stack.enter_context(FeatureCollection(second_paths)) if second_paths else None
        found = discover_boxes(method.method, first, second, lod, batches.batch_size, place)
        found = first.enlarge(found)
        skipped = sorted(first.skipped, key=lambda entry: entry["image_id"])
    records = []
    for image_id, (x1, y1, x2, y2) in sorted(found.items()):
        box = [x1, y1, x2 - x1, y2 - y1]
        records.append({"image_id": image_id, "bbox": [float(v) for v in box], "score": 1.0})
    parameters = {"method": method.method, **(vars(lod) if method.method == "lod" else {})}
    inputs = {f"features_{i}": path for i, path in enumerate(files.features)}
    inputs |= {f"second_features_{i}": path for i, path in enumerate(second_paths)}
    record = provenance("discover_objects", parameters, inputs, device_name(place))
    write_boxes(files.output, records, record, skipped)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
