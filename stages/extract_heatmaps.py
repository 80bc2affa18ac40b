"""Heatmaps of an index's phrases: those of g or g^h, or CLIP's relevancy (row GAE of the tables).

A phrase id's sentences are averaged into one map. With --texts training the maps are of what g is
trained on: captions where an image has any, else its phrases.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.clip.network import Clip, add_clip_options, prompt, take_clip, to_unit
from bbr.clip.relevancy import relevancy_maps
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.data.index import load_index, parse_shard
from bbr.data.loading import SquareImages, chunks
from bbr.errors import InputError
from bbr.grounding.heatmaps_h5 import create_heatmaps, find_peak
from bbr.grounding.network import Grounder, load_grounder
from bbr.grounding.texts import TEXTS, Entry, by_image, entries
from bbr.storage.provenance import provenance

SOURCES = ("g", "relevancy")
# Maps of images (P, 3, S, S), whose positions among the B of a batch are (P,), for texts (P, d).
Mapper = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def run(
    *,
    index: Path,
    output: Path,
    source: str,
    weights: Path | None,
    texts: str,
    shard: tuple[int, int],
    image_size: int,
    size: int | None,
    batch_size: int,
    device: str,
    precision: str,
    **rest: Any,
) -> None:
    """Write heatmaps.h5 of one shard of an index.

    Raises:
        InputError: the index has no phrases, an image cannot be read, or weights do not fit.
    """
    if (source == "g") != (weights is not None):
        raise InputError("--source g needs --weights FILE, and --source relevancy takes none")
    place = choose_device(device)
    clip, used, clip_file = take_clip(rest)
    clip.to(place)
    grounder = load_grounder(weights).to(place) if weights is not None else None
    _require_same_embedding(grounder, clip, weights)
    dataset = load_index(index)
    side = size or image_size
    parameters = {
        **used, "source": source, "texts": texts, "shard": list(shard), "image_size": image_size,
        "size": side, "precision": precision,
    }  # fmt: skip
    record = provenance(
        "extract_heatmaps",
        parameters,
        {"index": index, "weights": weights, "clip": clip_file},
        device_name(place),
    )
    kept = {image["id"] for image in dataset.shard(*shard)}
    groups = [g for g in by_image(entries(dataset, texts)) if g[0].image_id in kept]
    images = SquareImages(dataset, image_size)
    with create_heatmaps(output, size=(side, side), provenance=record) as file:
        batches = list(chunks(groups, batch_size))
        for batch in cli.progress(batches, len(batches), "batches of images"):
            pixels = images.batch([group[0].position for group in batch]).to(place)
            with autocast(place, precision):
                draw = _mapper(grounder, clip, to_unit(pixels), (side, side))
                maps = _entry_maps(batch, clip, draw, batch_size, place)
            for entry, heatmap in zip((e for g in batch for e in g), maps, strict=True):
                peak = find_peak(heatmap, dataset.image_size(dataset.images[entry.position]))
                file.append(entry.image_id, entry.phrase_id, heatmap, peak)


def _require_same_embedding(grounder: Grounder | None, clip: Clip, weights: Path | None) -> None:
    if grounder is None:
        return
    given = clip.encode_texts([""]).shape[1]
    if given != grounder.spec.text_dim:
        raise InputError(
            f"--weights {weights}: g reads texts of {grounder.spec.text_dim} numbers, but this"
            f" CLIP gives {given}; use the CLIP that g was trained with"
        )


def _mapper(grounder: Grounder | None, clip: Clip, images: Tensor, size: tuple[int, int]) -> Mapper:
    """What makes the maps of pairs of a batch; g's trunk runs once for each image."""
    if grounder is None:
        return lambda owner, texts: relevancy_maps(clip, images[owner], texts, size)
    planes = grounder.encode(images)
    return lambda owner, texts: grounder.decode(planes[owner], texts, size)


def _entry_maps(
    batch: list[list[Entry]], clip: Clip, draw: Mapper, at_once: int, place: torch.device
) -> list[Tensor]:
    """The mean map over the sentences of every entry, in order: (H, W) each."""
    owned = [(i, e) for i, group in enumerate(batch) for e in group]
    sentences = [prompt(sentence) for _, entry in owned for sentence in entry.sentences]
    owner = torch.tensor([i for i, entry in owned for _ in entry.sentences], device=place)
    embedded = torch.cat([clip.encode_texts(part) for part in chunks(sentences, at_once)])
    pairs = zip(owner.split(at_once), embedded.split(at_once), strict=True)
    maps = torch.cat([draw(of, texts).float() for of, texts in pairs])
    return [own.mean(dim=0) for own in maps.split([len(entry.sentences) for _, entry in owned])]


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--source", choices=SOURCES, default="g", help="what makes the maps [g]")
    parser.add_argument("--weights", type=Path, help="g or g^h, for --source g")
    add_clip_options(parser)
    parser.add_argument("--output", type=Path, required=True, help="heatmaps.h5")
    parser.add_argument("--texts", choices=TEXTS, default="phrases")
    parser.add_argument("--shard", type=parse_shard, default=(0, 1), metavar="i/n",
                        help="which part of the images, i from 0 [0/1]")  # fmt: skip
    parser.add_argument("--image-size", type=cli.positive_int, default=304,
                        help="side in pixels to which images are resized [304]")  # fmt: skip
    parser.add_argument("--size", type=cli.positive_int, help="side of the maps [image size]")
    parser.add_argument("--batch-size", type=cli.positive_int, default=32)
    cli.add_device_options(parser)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
