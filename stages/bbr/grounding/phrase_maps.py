"""Maps of the phrases of images: by g, or by CLIP alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..clip.dense import METHODS, dense_maps
from ..clip.network import Clip, prompt
from ..clip.relevancy import relevancy_maps
from ..clip.small_network import WordTokenizer
from ..command_line.cli import log
from ..data.loading import chunks
from ..errors import InputError
from .network import Grounder
from .texts import Entry

# Maps of images (P, 3, S, S), whose positions among the B of a batch are (P,), for texts (P, d).
Mapper = Callable[[Tensor, Tensor], Tensor]


def require_same_embedding(grounder: Grounder | None, clip: Clip, weights: Path | None) -> None:
    """Check that g reads texts as this CLIP gives them.

    Raises:
        InputError: it does not.
    """
    if grounder is None:
        return
    given = clip.encode_texts([""]).shape[1]
    if given != grounder.spec.text_dim:
        raise InputError(
            f"--weights {weights}: g reads texts of {grounder.spec.text_dim} numbers, but this"
            f" CLIP gives {given}; use the CLIP that g was trained with"
        )


def name_unknown_words(clip: Clip, groups: list[list[Entry]]) -> None:
    """Warn of words that this CLIP cannot tell apart: their maps mean little."""
    if not isinstance(clip.tokenize, WordTokenizer):
        return
    unknown = clip.tokenize.unknown_words(t for g in groups for entry in g for t in entry.sentences)
    if unknown:
        named = ", ".join(list(unknown)[:10]) + (", ..." if len(unknown) > 10 else "")
        log.warning(
            "%d words are unknown to this CLIP, which reads them all alike: %s", len(unknown), named
        )


def choose_mapper(
    grounder: Grounder | None,
    clip: Clip,
    images: Tensor,
    size: tuple[int, int],
    source: str = "relevancy",
) -> Mapper:
    """What makes the maps of pairs of a batch; g's trunk runs once for each image.

    Args:
        source: of maps without g: `relevancy`, or one of `dense.METHODS`.
    """
    if grounder is None and source in METHODS:
        return lambda owner, texts: dense_maps(clip, images[owner], texts, size, source)
    if grounder is None:
        return lambda owner, texts: relevancy_maps(clip, images[owner], texts, size)
    planes = grounder.encode(images)
    return lambda owner, texts: grounder.decode(planes[owner], texts, size)


def draw_entries(
    batch: list[list[Entry]], clip: Clip, draw: Mapper, at_once: int, bare: bool = False
) -> list[Tensor]:
    """The mean map over the sentences of every entry, in order: (H, W) each.

    Args:
        batch: the entries of each image.
        at_once: texts that CLIP sees at once, and maps that are drawn at once.
        bare: CLIP is shown texts as they are, without its prompt.
    """
    shown = str if bare else prompt
    owned = [(i, e) for i, group in enumerate(batch) for e in group]
    sentences = [shown(sentence) for _, entry in owned for sentence in entry.sentences]
    owner = torch.tensor(
        [i for i, entry in owned for _ in entry.sentences], device=clip.mean.device
    )
    embedded = torch.cat([clip.encode_texts(part) for part in chunks(sentences, at_once)])
    pairs = zip(owner.split(at_once), embedded.split(at_once), strict=True)
    maps = torch.cat([draw(of, texts).float() for of, texts in pairs])
    return [own.mean(dim=0) for own in maps.split([len(entry.sentences) for _, entry in owned])]
