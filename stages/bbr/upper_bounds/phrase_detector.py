"""The best box of an image for each of several phrases, whichever network finds it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..data.loading import chunks

ALL = -1.0  # a threshold of scores below which none lies


class PhraseDetector(nn.Module, ABC):
    """A network that scores boxes for texts, in evaluation mode."""

    model: Any  # of transformers, as the tokenizer is
    tokenizer: Any

    @abstractmethod
    def observe(self, image: Image.Image) -> Any:
        """What texts do not change: computed once for an image."""

    @abstractmethod
    def answer(
        self, observed: Any, texts: list[str], size: tuple[int, int]
    ) -> Sequence[Mapping[str, Tensor]]:
        """All boxes of each of T texts: "boxes" (Q, 4) xyxy in pixels, and "scores" (Q,).

        Args:
            observed: of an image.
            size: its (height, width) in pixels.
        """

    @torch.no_grad()
    def detect(
        self, pixels: np.ndarray, texts: Sequence[str], batch_size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The box of highest score for each of T texts, cut at the edges of the image.

        Args:
            pixels: (H, W, 3) uint8.
            batch_size: texts at once; it bounds memory, and changes no box but by rounding.

        Returns:
            (T, 4) float64 xyxy in pixels, and (T,) float64 scores in [0, 1].
        """
        height, width = pixels.shape[:2]
        observed = self.observe(Image.fromarray(pixels))
        best = [
            torch.cat((found["boxes"][i], found["scores"][i, None])).double().cpu()
            for some in chunks(texts, batch_size)
            for found in self.answer(observed, some, (height, width))
            for i in [int(found["scores"].argmax())]
        ]
        rows = torch.stack(best).numpy()
        return rows[:, :4].clip(0, [width, height, width, height]), rows[:, 4]


def clip_tokens(detector: PhraseDetector, texts: list[str]) -> Any:
    """Texts as CLIP's text encoder reads them, cut and filled up to its length, on the network's
    device.

    Args:
        detector: with a tokenizer of CLIP's.
    """
    return detector.tokenizer(
        texts,
        padding="max_length",
        truncation=True,
        max_length=detector.model.config.text_config.max_position_embeddings,
        return_tensors="pt",
    ).to(detector.model.device)
