"""Discover one object per image by looking at a whole collection of images at once.

  ddt  deep descriptor transforming; with --second-features, the features of an earlier layer, DDT+
  lod  ranking of region proposals over the graph of their matches

Name the features of all shards: the result is that of the collection, whatever its shards. Both
methods want descriptors as the network gives them (extract_features.py --normalization none).
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import bbr.command_line.fast_import

from bbr.backbones.feature_collection import FeatureCollection
from bbr.baselines.collection_methods import METHODS, discover_boxes
from bbr.baselines.lod import LodOptions
from bbr.command_line import cli
from bbr.command_line.devices import choose_device, device_name
from bbr.storage.boxes_json import write_boxes
from bbr.storage.provenance import provenance

_LOD_HELP = {
    "maxima": "saliency peaks of an image, at most",
    "levels": "regions of each peak",
    "neighbors": "images that each is matched with",
    "matches": "kept of a region in each of them",
}


def run(
    *,
    method: str,
    features: list[Path],
    second_features: list[Path] | None,
    output: Path,
    batch_size: int,
    device: str,
    **lod_options: int,
) -> None:
    """Write boxes.json (COCO results), sorted by image id.

    Raises:
        InputError: an unknown method, or features that are not whole or do not fit together.
    """
    place = choose_device(device)
    options = LodOptions(**lod_options)
    second_paths = second_features or []
    with ExitStack() as stack:
        first = stack.enter_context(FeatureCollection(features))
        second = stack.enter_context(FeatureCollection(second_paths)) if second_paths else None
        found = discover_boxes(method, first, second, options, batch_size, place)
        skipped = sorted(first.skipped, key=lambda entry: entry["image_id"])
    records = []
    for image_id, (x1, y1, x2, y2) in sorted(found.items()):
        box = [x1, y1, x2 - x1, y2 - y1]
        records.append({"image_id": image_id, "bbox": [float(v) for v in box], "score": 1.0})
    parameters = {"method": method, **(vars(options) if method == "lod" else {})}
    inputs = {f"features_{i}": path for i, path in enumerate(features)}
    inputs |= {f"second_features_{i}": path for i, path in enumerate(second_paths)}
    record = provenance("discover_objects", parameters, inputs, device_name(place))
    write_boxes(output, records, record, skipped)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--method", required=True, help=", ".join(METHODS))
    parser.add_argument("--features", type=Path, nargs="+", required=True,
                        help="features.h5 of each shard")  # fmt: skip
    parser.add_argument("--second-features", type=Path, nargs="+",
                        help="ddt: the same of a second layer, of the same grids")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="boxes.json")
    for field in fields(LodOptions):
        parser.add_argument(f"--{field.name}", type=cli.positive_int, default=field.default,
                            help=f"lod: {_LOD_HELP[field.name]} [{field.default}]")  # fmt: skip
    parser.add_argument("--batch-size", type=cli.positive_int, default=32)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
