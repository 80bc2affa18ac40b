"""Heatmaps of an index's phrases by excitation backprop of a classifier: row TD of Table 1.

The classifier is asked for a class whose name ends in a word of the phrase, else for the class that
it finds likeliest in the image; the log says how many phrases named none. A phrase id's sentences
are averaged into one map, each with its greatest value at 1.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import torch
from torch import Tensor
from torch.nn import functional

from bbr.clip.network import to_unit
from bbr.command_line import cli
from bbr.command_line.devices import choose_device, device_name
from bbr.command_line.run_options import DeviceOptions
from bbr.data.index import load_index
from bbr.data.loading import SquareImages, chunks
from bbr.grounding.classifiers import (
    LITE0,
    asked_class,
    class_names,
    last_words,
    load_classifier,
    named_classes,
)
from bbr.grounding.excitation import ExcitationNetwork
from bbr.grounding.heatmaps_h5 import create_heatmaps, find_peak
from bbr.grounding.texts import by_image, entries
from bbr.options import option
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="heatmaps.h5")
    classifier_weights: Path | None = option(None, "a file of that network [ImageNet's]")


@dataclass(frozen=True)
class Excitation:
    """The classifier, and what is read of it."""

    classifier: str = option(LITE0, f"{LITE0}, or one of torchvision's")
    image_size: int = option(224, "side to which images are resized", unit="px", min=1)
    stride: int = option(16, "of the map at which chances of winning are read", unit="px", min=1)
    size: int | None = option(None, "side of the maps [image size]", unit="px", min=1)
    batch_size: int = option(16, "seen at once", unit="images", min=1)


def run(*, files: Files, options: Excitation, device: DeviceOptions) -> None:
    """Write heatmaps.h5.

    Raises:
        InputError: the index has no phrases, an image cannot be read, or the classifier is of no
            kind that is known.
    """
    place = choose_device(device.device)
    weights = None if files.classifier_weights is None else str(files.classifier_weights)
    loaded = load_classifier(options.classifier, weights)
    network = ExcitationNetwork(loaded.network.to(place))
    dataset = load_index(files.index)
    side = options.size or options.image_size
    parameters = {
        "classifier": options.classifier,
        "image_size": options.image_size,
        "stride": options.stride,
        "size": side,
    }
    inputs = {"index": files.index, "classifier_weights": files.classifier_weights}
    record = provenance("excite_classifier", parameters, inputs, device_name(place))
    groups = by_image(entries(dataset, "phrases"))
    by_word = last_words(class_names())
    named = {s: named_classes(s, by_word) for g in groups for e in g for s in e.sentences}
    images = SquareImages(dataset, options.image_size)
    with create_heatmaps(files.output, size=(side, side), provenance=record) as file:
        batches = list(chunks(groups, options.batch_size))
        for batch in cli.progress(batches, len(batches), "batches of images"):
            pixels = to_unit(images.batch([group[0].position for group in batch]).to(place))
            seen, read = network.observe(loaded.prepare(pixels, options.image_size), options.stride)
            logits = network.last(read).detach()
            asked = [
                [[asked_class(logits[i], named[s]) for s in e.sentences] for e in group]
                for i, group in enumerate(batch)
            ]
            classes = [sorted({c for own in of_image for c in own}) for of_image in asked]
            maps = _class_maps(network, seen, read, classes, side)
            for group, of_image, own_maps in zip(batch, asked, maps, strict=True):
                for entry, own in zip(group, of_image, strict=True):
                    heatmap = torch.stack([own_maps[c] for c in own]).mean(dim=0)
                    peak = find_peak(heatmap, dataset.image_size(dataset.images[entry.position]))
                    file.append(entry.image_id, entry.phrase_id, heatmap, peak)
    texts = [s for group in groups for entry in group for s in entry.sentences]
    without = sum(not named[text] for text in texts)
    cli.log.info("%d of %d texts name no class of the classifier", without, len(texts))


def _class_maps(
    network: ExcitationNetwork, seen: Tensor, read: Tensor, classes: list[list[int]], side: int
) -> list[dict[int, Tensor]]:
    """The map of every class of every image: (side, side) in [0, 1]."""
    maps: list[dict[int, Tensor]] = [{} for _ in classes]
    for turn in range(max(map(len, classes))):
        # Images that have fewer classes than others are asked for their last one again.
        asked = [own[min(turn, len(own) - 1)] for own in classes]
        won = network.contrast(seen, read, torch.tensor(asked, device=read.device))
        drawn = functional.interpolate(won.unsqueeze(1), (side, side), mode="bilinear").squeeze(1)
        top = drawn.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(drawn.dtype).tiny)
        for own, wanted, heatmap in zip(maps, asked, drawn / top, strict=True):
            own[wanted] = heatmap
    return maps


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
