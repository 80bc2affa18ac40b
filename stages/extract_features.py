"""Extract f's patch features of every image at its native size into features.h5.

Images of one padded size go through the network together; memory does not grow with their number.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import numpy as np
import torch

from bbr.backbones.base import Backbone
from bbr.backbones.features_h5 import FeatureWriter, create_features
from bbr.backbones.masked import Segmenter
from bbr.backbones.options import BackboneOptions
from bbr.command_line import cli
from bbr.command_line.cli import log
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions, SkipOptions
from bbr.data.images import UnreadableImage
from bbr.data.index import ShardOptions, load_index
from bbr.data.loading import groups_of_equal, native_size_windows, to_tensor
from bbr.errors import InputError
from bbr.options import option
from bbr.storage.provenance import provenance

_WINDOW = 64
_Found = tuple[tuple[int, int], torch.Tensor, torch.Tensor | None, torch.Tensor | None]


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="features.h5")


@dataclass(frozen=True)
class Storage:
    """How features are stored."""

    dtype: str = option("float16", "of the stored features", choices=("float16", "float32"))
    batch_size: int = option(32, "seen by f at once", unit="images", min=1)
    seed: int = option(0, "of --weights random", min=0)


def run(
    *,
    files: Files,
    backbone: BackboneOptions,
    part: ShardOptions,
    storage: Storage,
    skips: SkipOptions,
    compute: ComputeOptions,
) -> None:
    """Write the features of one shard of an index.

    Raises:
        InputError: more than `max_skipped` images cannot be read, or an input is bad.
    """
    place = choose_device(compute.device)
    f = backbone.load(storage.seed).to(place)
    dataset = load_index(files.index)
    parameters = {
        **backbone.recorded(), "shard": list(part.shard), "dtype": storage.dtype,
        "seed": storage.seed, "precision": compute.precision,
    }  # fmt: skip
    sources = {"index": files.index, "weights": backbone.file}
    record = provenance("extract_features", parameters, sources, device_name(place))
    with (
        _create(files.output, f, storage.dtype, record) as writer,
        ThreadPoolExecutor(max_workers=1) as thread,
    ):
        # One window is written while the network sees the next.
        writing = thread.submit(_write, writer, [], [])
        skipped: list[dict[str, Any]] = []
        images = dataset.shard(*part.shard)
        windows = native_size_windows(dataset, images, _WINDOW)
        total = -(-len(images) // _WINDOW)
        for window in cli.progress(windows, total, f"windows of {_WINDOW} images"):
            readable = [(image, item) for image, item in window if isinstance(item, np.ndarray)]
            failed = [(image, e) for image, e in window if isinstance(e, UnreadableImage)]
            skipped += [{"image_id": image["id"], "reason": e.reason} for image, e in failed]
            if len(skipped) > skips.max_skipped:
                raise InputError(
                    f"{files.index}: {len(skipped)} images cannot be read (last: {failed[-1][1]});"
                    " mend them, files.index again, or raise --max-skipped"
                )
            for _, error in failed:
                log.warning("skipped: %s", error)
            features = _window_features(f, readable, storage.batch_size, compute.precision)
            writing.result()
            writing = thread.submit(_write, writer, readable, features)
        writing.result()
        writer.note_skipped(skipped)


def _create(
    path: Path, f: Backbone, dtype: str, record: dict[str, Any]
) -> AbstractContextManager[FeatureWriter]:
    return create_features(
        path,
        backbone=f.spec.architecture,
        patch_size=f.patch_pixels,
        dim=f.dim,
        heads=getattr(f, "heads", 0),
        dtype=dtype,
        provenance=record,
        masks=isinstance(f, Segmenter),
    )


def _write(
    writer: FeatureWriter, images: list[tuple[dict[str, Any], np.ndarray]], features: list[_Found]
) -> None:
    for (image, pixels), found in zip(images, features, strict=True):
        writer.append(image["id"], pixels.shape[:2], *found)


@torch.inference_mode()
def _window_features(
    backbone: Backbone, images: list[tuple[dict[str, Any], np.ndarray]], size: int, precision: str
) -> list[_Found]:
    """(grid, key, cls_attention, mask) of each image, in the order given."""
    found: dict[int, _Found] = {}
    pixels = [backbone.prepare(to_tensor(image)[None]) for _, image in images]
    place = backbone.mean.device
    for group in groups_of_equal(range(len(images)), lambda i: pixels[i].shape, size):
        with autocast(place, precision):
            maps = backbone(torch.cat([pixels[i] for i in group]))
        # A whole batch at once: each copy waits for a GPU.
        key, attentions = maps.key.cpu(), maps.cls_attention
        attentions = None if attentions is None else attentions.cpu()
        for row, position in enumerate(group):
            attention = None if attentions is None else attentions[row]
            mask = None
            if maps.mask is not None:
                mask = backbone.image_mask(maps.mask[row], images[position][1].shape[:2])
            found[position] = (maps.grid, key[row], attention, mask)
    return [found[position] for position in range(len(images))]


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
