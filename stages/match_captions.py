"""Find the caption of an image that says most nearly the same as each phrase of the ground truth.

Nearest is by cosine in CLIP's text space, averaged over the sentences of a phrase (paper section 5,
"what is where by looking"). A phrase of an image without captions has no match.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import numpy as np

from bbr.captioning.describing import embed_texts
from bbr.clip.network import Clip, ClipOptions
from bbr.command_line import cli
from bbr.command_line.devices import choose_device, device_name
from bbr.command_line.run_options import DeviceOptions
from bbr.data.index import load_index
from bbr.data.phrases import Phrase, index_phrases
from bbr.errors import InputError
from bbr.evaluation.matches import nearest_caption, write_matches
from bbr.options import option
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json with ground truth")
    descriptions: Path = option(help="the described index of the same images")
    output: Path = option(help="matches.json")


@dataclass(frozen=True)
class Batches:
    """How much at once."""

    batch_size: int = option(256, "seen by a network at once", unit="texts", min=1)
    bare_captions: bool = option(
        False,
        'captions are without "image of ", which phrases have, as in WWbL\'s code',
        later=True,
    )


def run(*, files: Files, clip: ClipOptions, batches: Batches, device: DeviceOptions) -> None:
    """Write matches.json.

    Raises:
        InputError: the index has no phrases, or the two files are not of the same images.
    """
    place = choose_device(device.device)
    network = clip.load().to(place)
    phrases = index_phrases(load_index(files.index))
    described = load_index(files.descriptions)
    _require_same_images(load_index(files.index), described)
    if not phrases:
        raise InputError(
            f"{files.index}: has no phrases, so there is nothing to match captions with"
        )
    captions: dict[int, list[Phrase]] = {}
    for caption in index_phrases(described):
        captions.setdefault(caption.image_id, []).append(caption)
    asked = [text for phrase in phrases for text in phrase.texts]
    said = [caption.texts[0] for own in captions.values() for caption in own]
    if batches.bare_captions:
        embedded = _embedded(network, asked, batches.batch_size)
        of_captions = _embedded(network, said, batches.batch_size, bare=True)
    else:
        embedded = of_captions = _embedded(network, [*asked, *said], batches.batch_size)
    matches = []
    for phrase in phrases:
        own = captions.get(phrase.image_id, [])
        if own:
            best, cosine = nearest_caption(
                np.stack([embedded[text] for text in phrase.texts]),
                np.stack([of_captions[caption.texts[0]] for caption in own]),
            )
            unit = {"image_id": phrase.image_id, "phrase_id": phrase.phrase_id}
            matches.append({**unit, "caption_id": own[best].phrase_id, "cosine": cosine})
    inputs = {"index": files.index, "descriptions": files.descriptions, "clip": clip.file}
    parameters = clip.recorded() | ({"bare_captions": True} if batches.bare_captions else {})
    record = provenance("match_captions", parameters, inputs, device_name(place))
    write_matches(files.output, matches, record)


def _embedded(
    network: Clip, texts: list[str], batch_size: int, bare: bool = False
) -> dict[str, np.ndarray]:
    """The embedding of each text."""
    distinct = list(dict.fromkeys(texts))
    return dict(zip(distinct, embed_texts(network, distinct, batch_size, bare), strict=True))


def _require_same_images(index: Any, described: Any) -> None:
    known = {image["id"] for image in index.images}
    seen = {image["id"] for image in described.images}
    seen |= {entry["image_id"] for entry in described.info.get("skipped", [])}
    if known != seen:
        first = min(known ^ seen)
        raise InputError(
            f"{described.path}: describes other images than {index.path} has (first: {first});"
            " describe the same index, all of its shards"
        )


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
