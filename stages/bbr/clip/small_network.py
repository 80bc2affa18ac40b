"""A small CLIP for rendered scenes: open_clip's own class with towers of a few layers.

Its image tower is a hybrid transformer: frozen ImageNet features of EfficientNet-Lite0 take the
place of pixels, since a few thousand scenes do not teach a transformer to see.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import open_clip
import torch
from torch import Tensor, nn

from ..backbones.base import Backbone
from ..backbones.build import load_backbone
from ..errors import InputError
from ..options import option

TRUNK = "efficientnet_lite0"
_TRUNK_KEYS = "visual.trunk."
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class SmallClipSpec:
    """All that is needed to build a small CLIP but its weights; travels with them.

    Attributes:
        vocabulary: the words that it tells apart.
    """

    vocabulary: tuple[str, ...] = ()
    image_size: int = option(128, "side of the images that it sees", unit="px", min=1)
    trunk: str | None = option(
        TRUNK, "frozen features below the transformer, or none: pixels", choices=(TRUNK, None)
    )
    patch_size: int = option(
        16, "of a transformer on pixels; a trunk has its own", unit="px", min=1
    )
    embed_dim: int = option(128, "numbers of an embedding", min=1)
    width: int = option(128, "channels of the towers", min=1)
    layers: int = option(2, "of each tower", min=1)
    heads: int = option(4, "of each tower", min=1)
    context_length: int = option(32, "of a text, start and end included", unit="tokens", min=1)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)


class SmallTower(nn.Module):
    """An image tower in two parts: what is frozen, if anything, and what is trained."""

    def __init__(self, trunk: Backbone | None, transformer: nn.Module) -> None:
        super().__init__()
        self.trunk, self.transformer = trunk, transformer

    def observe(self, pixels: Tensor) -> Tensor:
        """What the transformer reads of prepared images; the same at every training step."""
        return pixels if self.trunk is None else self.trunk.frozen_forward(pixels, 0)

    def forward(self, pixels: Tensor) -> Tensor:
        """Prepared images (B, 3, S, S) to (B, embed_dim)."""
        return self.transformer(self.observe(pixels))


class WordTokenizer:
    """Words as tokens: 0 pads, words count from 1, then "unknown", start and end.

    The end has the highest number, where open_clip's text tower reads its output.
    """

    def __init__(self, vocabulary: tuple[str, ...], context_length: int) -> None:
        self._number = {word: i for i, word in enumerate(vocabulary, 1)}
        self._unknown = len(vocabulary) + 1
        self._length = context_length

    def __call__(self, texts: list[str]) -> Tensor:
        """B texts to (B, context_length) int64; what does not fit is cut off."""
        return torch.tensor([self._encode(text) for text in texts]).view(-1, self._length)

    def unknown_words(self, texts: Iterable[str]) -> dict[str, int]:
        """The words of texts that are outside the vocabulary, and in how many texts each is."""
        found = Counter(word for text in texts for word in {*words_of(text)})
        return {word: n for word, n in found.most_common() if word not in self._number}

    def _encode(self, text: str) -> list[int]:
        words = [self._number.get(word, self._unknown) for word in words_of(text)]
        start, end = self._unknown + 1, self._unknown + 2
        tokens = [start, *words[: self._length - 2], end]
        return tokens + [0] * (self._length - len(tokens))


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def vocabulary_size(spec: SmallClipSpec) -> int:
    """Tokens that `WordTokenizer` can give."""
    return len(spec.vocabulary) + 4


def is_from_package(name: str) -> bool:
    """Whether a tensor is the trunk's, and so need not be stored."""
    return name.startswith(_TRUNK_KEYS)


def build_small_clip(spec: SmallClipSpec) -> nn.Module:
    """open_clip's CLIP with a small text tower and a `SmallTower`.

    Raises:
        InputError: unknown trunk, or sizes that do not divide.
    """
    if spec.trunk not in (None, TRUNK):
        raise InputError(f"trunk {spec.trunk!r} of a CLIP is unknown; choose {TRUNK}, or none")
    trunk = None if spec.trunk is None else load_backbone(spec.trunk).requires_grad_(False)
    stride = spec.patch_size if trunk is None else trunk.stride
    if spec.image_size % stride or spec.width % spec.heads:
        raise InputError(
            f"CLIP: image_size {spec.image_size} must be a multiple of {stride}, and width"
            f" {spec.width} of heads {spec.heads}"
        )
    patch = stride if trunk is None else 1
    model = open_clip.CLIP(
        embed_dim=spec.embed_dim,
        vision_cfg={
            "image_size": spec.image_size // stride * patch,
            "patch_size": patch,
            "width": spec.width,
            "layers": spec.layers,
            "head_width": spec.width // spec.heads,
        },
        text_cfg={
            "context_length": spec.context_length,
            "vocab_size": vocabulary_size(spec),
            "width": spec.width,
            "heads": spec.heads,
            "layers": spec.layers,
        },
    )
    if trunk is not None:
        model.visual.conv1 = nn.Conv2d(trunk.dim, spec.width, kernel_size=1, bias=False)
    model.visual = SmallTower(trunk, model.visual)
    return model
