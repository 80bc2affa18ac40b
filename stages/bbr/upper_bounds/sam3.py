"""SAM 3 (Meta 2025): all instances of a concept that a short phrase names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from transformers import CLIPTokenizer, Sam3ImageProcessor, Sam3Model

from .folders import load_parts
from .phrase_detector import ALL, PhraseDetector, clip_tokens


class Sam3(PhraseDetector):
    """A box's score is its own, times that of the phrase being in the image at all."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        # Published with its tracker, as sam3_video.
        self.model, self.tokenizer, self.processor = load_parts(
            folder, ("sam3", "sam3_video"), Sam3Model, CLIPTokenizer, Sam3ImageProcessor
        )

    def observe(self, image: Image.Image) -> Any:
        """The maps of the image encoder, which is most of the network."""
        seen = self.processor(images=image, return_tensors="pt").to(self.model.device)
        return self.model.get_vision_features(seen["pixel_values"])

    def answer(
        self, observed: Any, texts: list[str], size: tuple[int, int]
    ) -> list[dict[str, Tensor]]:
        """See `PhraseDetector.answer`."""
        tokens = clip_tokens(self, texts)
        outputs = self.model(vision_embeds=_repeated(observed, len(texts)), **tokens)
        return self.processor.post_process_object_detection(outputs, ALL, [size] * len(texts))


def _repeated(maps: Any, count: int) -> Any:
    """The maps of one image as those of as many."""

    def repeat(levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(level.expand(count, *level.shape[1:]) for level in levels)

    return type(maps)(
        fpn_hidden_states=repeat(maps.fpn_hidden_states),
        fpn_position_encoding=repeat(maps.fpn_position_encoding),
    )
