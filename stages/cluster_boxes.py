"""Sort boxes into clusters by what is in them, to be looked at and named.

--output has the same boxes, with the number of its cluster as category_id: 1 is the largest. A box
is described by the mean of a network's features inside it, whatever its size and place. --sheets is
a folder of contact sheets, NUMBER.png, with the most typical boxes of each cluster first. Names are
given when the boxes are exported (export_boxes.py --names).

The features may be of another network than the one that found the boxes: what tells an object from
what is around it need not tell one kind from another.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import numpy as np

from bbr.backbones.feature_collection import FeatureCollection
from bbr.command_line import cli
from bbr.data.images import UnreadableImage, read_indexed
from bbr.data.index import Index, load_index
from bbr.errors import InputError
from bbr.heuristics.box_clusters import Clusters, cluster, pool_boxes
from bbr.options import option, recorded
from bbr.reporting.contact_sheets import close_up, draw_sheet
from bbr.storage.atomic import write_bytes
from bbr.storage.boxes_json import (
    Record,
    box_xyxy,
    boxes_by_image,
    read_boxes,
    read_meta,
    require_known_images,
    write_boxes,
)
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    boxes: Path = option(help="COCO results")
    features: tuple[Path, ...] = option(help="features.h5 of each shard")
    sheets: Path = option(help="folder of the contact sheets")
    output: Path = option(help="clusters.json")


@dataclass(frozen=True)
class Clustering:
    """How boxes are sorted."""

    clusters: int = option(help="how many", min=2)
    seed: int = option(0, "of where k-means starts", min=0)


@dataclass(frozen=True)
class Sheets:
    """What is shown of each cluster."""

    count: int = option(20, "of a cluster to show", unit="boxes", min=1, max=500)
    margin: float = option(0.25, "shown around a box, in its longer side; more of tiny ones", min=0)


def run(*, files: Files, clustering: Clustering, sheets: Sheets) -> None:
    """Write the sheets, and then the boxes, in their order.

    Raises:
        InputError: the files do not belong together, or there are too few boxes.
    """
    dataset = load_index(files.index)
    boxes, meta = read_boxes(files.boxes), read_meta(files.boxes)
    require_known_images(boxes, {image["id"] for image in dataset.images}, files.boxes)
    features = _pooled(files, boxes)
    try:
        found = cluster(features, clustering.clusters, clustering.seed)
    except InputError as error:
        raise InputError(f"{files.boxes}: {error}") from error
    clustered = [
        {**box, "category_id": label + 1}
        for box, label in zip(boxes, found.labels.tolist(), strict=True)
    ]
    for number in cli.progress(range(1, clustering.clusters + 1), clustering.clusters, "sheets"):
        _draw(number, clustered, found, dataset, files.sheets, sheets)
    inputs = {"index": files.index, "boxes": files.boxes}
    inputs |= {f"features_{i}": path for i, path in enumerate(files.features)}
    history = provenance("cluster_boxes", recorded(clustering), inputs)
    history["sources"] = [meta["provenance"]]
    write_boxes(files.output, clustered, history, meta["skipped"], meta.get("without_boxes"))


def _pooled(files: Files, boxes: list[Record]) -> np.ndarray:
    """(n, d) features of the boxes, in their order."""
    grouped = boxes_by_image(boxes)
    pooled: dict[int, Iterator[np.ndarray]] = {}
    with FeatureCollection(files.features) as collection:
        missing = sorted(grouped.keys() - set(collection.image_ids))
        if missing:
            raise InputError(
                f"{files.boxes}: boxes of {len(missing)} images that the features do not have"
                f" (first: {missing[0]}); name the features of all shards of this index"
            )
        # Pixels of the whole image to one as the network saw it.
        scales = collection.enlarge(dict.fromkeys(grouped, np.ones(4)))
        for batch in collection.batches(32):
            for image_id, key in zip(batch.image_ids, batch.key.numpy(), strict=True):
                if image_id in grouped:
                    pixels = np.array([*map(box_xyxy, grouped[image_id])])
                    inside = pixels / scales[image_id] / batch.patch_size
                    pooled[image_id] = iter(pool_boxes(key, batch.grid, inside))
    return np.array([next(pooled[box["image_id"]]) for box in boxes])


def _draw(
    number: int, boxes: list[Record], found: Clusters, dataset: Index, folder: Path, sheets: Sheets
) -> None:
    """A sheet of one cluster's most typical boxes; none where no photograph can be read."""
    images = {image["id"]: image for image in dataset.images}
    members = np.flatnonzero(found.labels == number - 1)
    typical = members[np.argsort(found.distances[members], kind="stable")][: sheets.count]
    tiles = []
    for box in (boxes[i] for i in typical.tolist()):
        image = images[box["image_id"]]
        try:
            pixels = read_indexed(dataset.image_path(image), image)
        except UnreadableImage as error:
            cli.log.warning("left out: %s", error)
            continue
        title = Path(image["file_name"]).name
        tiles.append(close_up(pixels, title, box_xyxy(box), sheets.margin))
    if tiles:
        name = f"cluster {number}: {len(members)} of {len(boxes)} boxes"
        write_bytes(folder / f"{number}.png", draw_sheet(tiles, [name]))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
