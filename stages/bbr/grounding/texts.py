"""What g is told: the phrases of an index in evaluation, and random texts in training.

In training, a random caption of an image that has captions, each word kept with probability 4/5;
else a random one of its region phrases (docs/protocol.md#training-text).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..clip.network import prompt
from ..data.index import Index
from ..data.phrases import Phrase, index_phrases
from ..errors import InputError

TEXTS = ("phrases", "training")
WORDS = ("all", "kept")
_KEPT_WORDS = 0.8


@dataclass(frozen=True)
class Entry:
    """Texts that share one heatmap.

    Attributes:
        position: of the image in `index.images`.
        image_id, phrase_id: by which heatmaps and boxes name it; of a caption, its position among
            those of its image.
        sentences: at least one.
        caption: whether it describes the whole image.
    """

    position: int
    image_id: int
    phrase_id: int
    sentences: tuple[str, ...]
    caption: bool = False


def entries(index: Index, texts: str) -> list[Entry]:
    """All entries of an index, image by image.

    Args:
        texts: `phrases`, for evaluation; or `training`, where captions go before phrases.

    Raises:
        InputError: it has no texts.
    """
    phrases: dict[int, list[Phrase]] = {}
    for phrase in index_phrases(index):
        phrases.setdefault(phrase.image_id, []).append(phrase)
    found = []
    for position, image in enumerate(index.images):
        captions = image.get("captions") if texts == "training" else None
        if captions:
            found += [Entry(position, image["id"], i, (c,), True) for i, c in enumerate(captions)]
        else:
            own = phrases.get(image["id"], [])
            found += [Entry(position, image["id"], p.phrase_id, p.texts) for p in own]
    if not found:
        raise InputError(
            f"{index.path}: has no phrases; index it with a reader of phrases, or render scenes"
        )
    return found


def by_image(found: Sequence[Entry]) -> list[list[Entry]]:
    """Entries grouped by image, of the images that have any."""
    groups: dict[int, list[Entry]] = {}
    for entry in found:
        groups.setdefault(entry.position, []).append(entry)
    return list(groups.values())


def draw_entry(choices: Sequence[Entry], generator: torch.Generator) -> Entry:
    """One of them, each as likely."""
    return choices[_draw(len(choices), generator)]


def draw_text(entry: Entry, generator: torch.Generator) -> str:
    """One of an entry's sentences as CLIP is shown it; of a caption some words are left out."""
    sentence = entry.sentences[_draw(len(entry.sentences), generator)]
    return prompt(_drop_words(sentence, generator) if entry.caption else sentence)


def kept_words(entry: Entry) -> Entry:
    """A caption with some of its words left out, always the same ones; any other entry as it is.

    The released code draws h's texts as g's, at each step anew; maps that are drawn once have one
    draw of each caption.
    """
    if not entry.caption:
        return entry
    digest = hashlib.sha256(f"{entry.image_id}:{entry.phrase_id}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
    sentences = tuple(_drop_words(sentence, generator) for sentence in entry.sentences)
    return replace(entry, sentences=sentences)


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _drop_words(caption: str, generator: torch.Generator) -> str:
    words = caption.split()
    kept: Tensor = torch.rand(len(words), generator=generator) < _KEPT_WORDS
    left = [word for word, keep in zip(words, kept.tolist(), strict=True) if keep]
    return " ".join(left or words)
