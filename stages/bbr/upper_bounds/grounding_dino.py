"""Grounding DINO (Liu et al. 2023): image and text are fused from the encoder on."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor
from transformers import (
    BertTokenizer,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
)

from .folders import load_parts
from .phrase_detector import ALL, PhraseDetector


class GroundingDino(PhraseDetector):
    """A phrase is the whole caption; a box's score is that of the token it is likest to."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.model, self.tokenizer, self.processor = load_parts(
            folder,
            ("grounding-dino",),
            GroundingDinoForObjectDetection,
            BertTokenizer,
            GroundingDinoImageProcessorPil,
        )

    def observe(self, image: Image.Image) -> tuple[Tensor, Tensor]:
        """(1, 3, h, w) pixels and (1, h, w) which of them are of the image."""
        seen = self.processor(images=image, return_tensors="pt").to(self.model.device)
        return seen["pixel_values"], seen["pixel_mask"]

    def answer(
        self, observed: tuple[Tensor, Tensor], texts: list[str], size: tuple[int, int]
    ) -> list[dict[str, Tensor]]:
        """See `PhraseDetector.answer`."""
        pixels, mask = observed
        tokens = self.tokenizer(
            list(map(as_caption, texts)),
            padding=True,
            truncation=True,
            max_length=self.model.config.max_text_len,
            return_token_type_ids=True,
            return_tensors="pt",
        ).to(self.model.device)
        outputs = self.model(
            pixel_values=pixels.expand(len(texts), -1, -1, -1),
            pixel_mask=mask.expand(len(texts), -1, -1),
            **tokens,
        )
        return self.processor.post_process_object_detection(outputs, ALL, [size] * len(texts))


def as_caption(phrase: str) -> str:
    """A phrase in the form that the network was trained on: lower case, a full stop at its end.

    Full stops within it would make several captions of it, which do not see each other.
    """
    return " ".join(phrase.lower().replace(".", " ").split()) + "."
