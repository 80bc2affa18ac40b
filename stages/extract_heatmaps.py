"""Heatmaps of an index's phrases: those of g or g^h, or CLIP's relevancy (row GAE of the tables).

A phrase id's sentences are averaged into one map. With --texts training the maps are of what g is
trained on: captions where an image has any, else its phrases.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.clip.network import Clip, ClipOptions, prompt, to_unit
from bbr.clip.relevancy import relevancy_maps
from bbr.clip.small_network import WordTokenizer
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions
from bbr.data.index import ShardOptions, load_index
from bbr.data.loading import SquareImages, chunks
from bbr.errors import InputError
from bbr.grounding.heatmaps_h5 import create_heatmaps, find_peak
from bbr.grounding.network import Grounder, load_grounder
from bbr.grounding.texts import TEXTS, WORDS, Entry, by_image, entries, kept_words
from bbr.options import option
from bbr.storage.provenance import provenance

SOURCES = ("g", "relevancy")
# Maps of images (P, 3, S, S), whose positions among the B of a batch are (P,), for texts (P, d).
Mapper = Callable[[Tensor, Tensor], Tensor]


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


@torch.no_grad()
def run(
    *, files: Files, clip: ClipOptions, maps: Maps, part: ShardOptions, compute: ComputeOptions
) -> None:
    """Write heatmaps.h5 of one shard of an index.

    Raises:
        InputError: the index has no phrases, an image cannot be read, or weights do not fit.
    """
    if (maps.source == "g") != (files.weights is not None):
        raise InputError("--source g needs --weights FILE, and --source relevancy takes none")
    place = choose_device(compute.device)
    network = clip.load().to(place)
    grounder = load_grounder(files.weights).to(place) if files.weights is not None else None
    _require_same_embedding(grounder, network, files.weights)
    dataset = load_index(files.index)
    side = maps.size or maps.image_size
    parameters = {
        **clip.recorded(), "source": maps.source, "texts": maps.texts,
        "shard": list(part.shard), "image_size": maps.image_size, "size": side,
        "precision": compute.precision, **({"words": "kept"} if maps.words == "kept" else {}),
        **({"bare": True} if maps.bare else {}),
    }  # fmt: skip
    record = provenance(
        "extract_heatmaps",
        parameters,
        {"index": files.index, "weights": files.weights, "clip": clip.file},
        device_name(place),
    )
    kept = {image["id"] for image in dataset.shard(*part.shard)}
    found = [e for e in entries(dataset, maps.texts) if e.image_id in kept]
    groups = by_image([kept_words(e) for e in found] if maps.words == "kept" else found)
    _name_unknown_words(network, groups)
    images = SquareImages(dataset, maps.image_size, clip.resizing)
    with create_heatmaps(files.output, size=(side, side), provenance=record) as file:
        batches = list(chunks(groups, maps.batch_size))
        for batch in cli.progress(batches, len(batches), "batches of images"):
            pixels = images.batch([group[0].position for group in batch]).to(place)
            with autocast(place, compute.precision):
                draw = _mapper(grounder, network, to_unit(pixels), (side, side))
                drawn = _entry_maps(batch, network, draw, maps, place)
            for entry, heatmap in zip((e for g in batch for e in g), drawn, strict=True):
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


def _name_unknown_words(clip: Clip, groups: list[list[Entry]]) -> None:
    """Warn of words that this CLIP cannot tell apart: their maps mean little."""
    if not isinstance(clip.tokenize, WordTokenizer):
        return
    unknown = clip.tokenize.unknown_words(t for g in groups for entry in g for t in entry.sentences)
    if unknown:
        named = ", ".join(list(unknown)[:10]) + (", ..." if len(unknown) > 10 else "")
        cli.log.warning(
            "%d words are unknown to this CLIP, which reads them all alike: %s", len(unknown), named
        )


def _mapper(grounder: Grounder | None, clip: Clip, images: Tensor, size: tuple[int, int]) -> Mapper:
    """What makes the maps of pairs of a batch; g's trunk runs once for each image."""
    if grounder is None:
        return lambda owner, texts: relevancy_maps(clip, images[owner], texts, size)
    planes = grounder.encode(images)
    return lambda owner, texts: grounder.decode(planes[owner], texts, size)


def _entry_maps(
    batch: list[list[Entry]], clip: Clip, draw: Mapper, options: Maps, place: torch.device
) -> list[Tensor]:
    """The mean map over the sentences of every entry, in order: (H, W) each."""
    at_once = options.batch_size
    shown = str if options.bare else prompt
    owned = [(i, e) for i, group in enumerate(batch) for e in group]
    sentences = [shown(sentence) for _, entry in owned for sentence in entry.sentences]
    owner = torch.tensor([i for i, entry in owned for _ in entry.sentences], device=place)
    embedded = torch.cat([clip.encode_texts(part) for part in chunks(sentences, at_once)])
    pairs = zip(owner.split(at_once), embedded.split(at_once), strict=True)
    maps = torch.cat([draw(of, texts).float() for of, texts in pairs])
    return [own.mean(dim=0) for own in maps.split([len(entry.sentences) for _, entry in owned])]


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
