"""Heatmaps of an index's phrases: of g or g^h, or of CLIP alone: its relevancy (row GAE of the
tables), or how like the text its patches are (MaskCLIP, GEM).

A phrase id's sentences are averaged into one map. With --texts training the maps are of what g is
trained on: captions where an image has any, else its phrases.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch

from bbr.clip.dense import METHODS
from bbr.clip.network import ClipOptions, to_unit
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions
from bbr.data.index import ShardOptions, load_index
from bbr.data.loading import SquareImages, chunks
from bbr.errors import InputError
from bbr.grounding.heatmaps_h5 import create_heatmaps, find_peak
from bbr.grounding.network import load_grounder
from bbr.grounding.phrase_maps import (
    choose_mapper,
    draw_entries,
    name_unknown_words,
    require_same_embedding,
)
from bbr.grounding.texts import TEXTS, WORDS, by_image, entries, kept_words
from bbr.options import all_recorded, option, recorded
from bbr.storage.provenance import provenance

SOURCES = ("g", "relevancy", *METHODS)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="heatmaps.h5")
    weights: Path | None = option(None, "g or g^h, for --source g")


@dataclass(frozen=True)
class Maps:
    """Which maps, and of what."""

    source: str = option("g", "what makes the maps", choices=SOURCES)
    texts: str = option("phrases", "of what", choices=TEXTS)
    words: str = option(
        "all",
        "of captions in training: all, or those that are kept when each is dropped with probability"
        " 1/5, as in the released code",
        choices=WORDS,
        later=True,
    )
    bare: bool = option(
        False, 'texts are as they are, without "image of "; WWbL\'s captions', later=True
    )
    image_size: int = option(304, "side to which images are resized", unit="px", min=1)
    size: int | None = option(None, "side of the maps [image size]", unit="px", min=1)
    batch_size: int = option(32, "seen at once", unit="images", min=1)

    def recorded(self) -> dict[str, Any]:
        """What the provenance says; how much is seen at once changes nothing."""
        said = recorded(self)
        return {name: value for name, value in said.items() if name != "batch_size"}


@torch.no_grad()
def run(
    *, files: Files, clip: ClipOptions, maps: Maps, part: ShardOptions, compute: ComputeOptions
) -> None:
    """Write heatmaps.h5 of one shard of an index.

    Raises:
        InputError: the index has no phrases, an image cannot be read, or weights do not fit.
    """
    if (maps.source == "g") != (files.weights is not None):
        raise InputError("--source g needs --weights FILE, and any other source takes none")
    place = choose_device(compute.device)
    network = clip.load().to(place)
    grounder = load_grounder(files.weights).to(place) if files.weights is not None else None
    require_same_embedding(grounder, network, files.weights)
    dataset = load_index(files.index)
    side = maps.size or maps.image_size
    parameters = all_recorded(clip, part, maps, compute) | {"size": side}
    sources = {"index": files.index, "weights": files.weights, "clip": clip.file}
    record = provenance("extract_heatmaps", parameters, sources, device_name(place))
    kept = {image["id"] for image in dataset.shard(*part.shard)}
    found = [e for e in entries(dataset, maps.texts) if e.image_id in kept]
    groups = by_image([kept_words(e) for e in found] if maps.words == "kept" else found)
    name_unknown_words(network, groups)
    images = SquareImages(dataset, maps.image_size, clip.resizing)
    with create_heatmaps(files.output, size=(side, side), provenance=record) as file:
        batches = list(chunks(groups, maps.batch_size))
        for batch in cli.progress(batches, len(batches), "batches of images"):
            pixels = images.batch([group[0].position for group in batch]).to(place)
            with autocast(place, compute.precision):
                draw = choose_mapper(grounder, network, to_unit(pixels), (side, side), maps.source)
                drawn = draw_entries(batch, network, draw, maps.batch_size, maps.bare)
            for entry, heatmap in zip((e for g in batch for e in g), drawn, strict=True):
                peak = find_peak(heatmap, dataset.image_size(dataset.images[entry.position]))
                file.append(entry.image_id, entry.phrase_id, heatmap, peak)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
