"""Find the caption of an image that says most nearly the same as each phrase of the ground truth.

Nearest is by cosine in CLIP's text space, averaged over the sentences of a phrase (paper section 5,
"what is where by looking"). A phrase of an image without captions has no match.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import numpy as np

from bbr.captioning.describing import embed_texts
from bbr.captioning.matches import nearest_caption, write_matches
from bbr.clip.network import add_clip_options, take_clip
from bbr.command_line import cli
from bbr.command_line.devices import choose_device, device_name
from bbr.data.index import load_index
from bbr.data.phrases import Phrase, index_phrases
from bbr.errors import InputError
from bbr.storage.provenance import provenance


def run(
    *, index: Path, descriptions: Path, output: Path, batch_size: int, device: str, **rest: Any
) -> None:
    """Write matches.json.

    Raises:
        InputError: the index has no phrases, or the two files are not of the same images.
    """
    place = choose_device(device)
    clip, used, clip_file = take_clip(rest)
    clip.to(place)
    phrases = index_phrases(load_index(index))
    described = load_index(descriptions)
    _require_same_images(load_index(index), described)
    if not phrases:
        raise InputError(f"{index}: has no phrases, so there is nothing to match captions with")
    captions: dict[int, list[Phrase]] = {}
    for caption in index_phrases(described):
        captions.setdefault(caption.image_id, []).append(caption)
    texts = [text for phrase in phrases for text in phrase.texts]
    texts += [caption.texts[0] for own in captions.values() for caption in own]
    distinct = list(dict.fromkeys(texts))
    embedded = dict(zip(distinct, embed_texts(clip, distinct, batch_size), strict=True))
    matches = []
    for phrase in phrases:
        own = captions.get(phrase.image_id, [])
        if own:
            best, cosine = nearest_caption(
                np.stack([embedded[text] for text in phrase.texts]),
                np.stack([embedded[caption.texts[0]] for caption in own]),
            )
            matches.append({
                "image_id": phrase.image_id, "phrase_id": phrase.phrase_id,
                "caption_id": own[best].phrase_id, "cosine": cosine,
            })  # fmt: skip
    inputs = {"index": index, "descriptions": descriptions, "clip": clip_file}
    write_matches(output, matches, provenance("match_captions", used, inputs, device_name(place)))


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
    """The command line."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="index.json with ground truth")
    parser.add_argument("--descriptions", type=Path, required=True,
                        help="the described index of the same images")  # fmt: skip
    add_clip_options(parser)
    parser.add_argument("--output", type=Path, required=True, help="matches.json")
    parser.add_argument("--batch-size", type=cli.positive_int, default=256, help="texts [256]")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
