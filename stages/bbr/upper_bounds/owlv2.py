"""OWLv2 (Minderer et al. 2023): a box and an embedding of each patch, compared with texts."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor
from transformers import CLIPTokenizer, Owlv2ForObjectDetection, Owlv2ImageProcessorPil
from transformers.models.owlv2.modeling_owlv2 import Owlv2ObjectDetectionOutput

from .folders import load_parts
from .phrase_detector import ALL, PhraseDetector, clip_tokens


class Owlv2(PhraseDetector):
    """The texts are queries of one image, each scored by itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.model, self.tokenizer, self.processor = load_parts(
            folder, ("owlv2",), Owlv2ForObjectDetection, CLIPTokenizer, Owlv2ImageProcessorPil
        )

    def observe(self, image: Image.Image) -> Tensor:
        """(1, 3, S, S) pixels, the image at the upper left."""
        return self.processor(images=image, return_tensors="pt")["pixel_values"].to(
            self.model.device
        )

    def answer(
        self, observed: Tensor, texts: list[str], size: tuple[int, int]
    ) -> list[dict[str, Tensor]]:
        """See `PhraseDetector.answer`."""
        tokens = clip_tokens(self, texts)
        seen = self.model(pixel_values=observed, **tokens)
        # As many images with one text each: transformers keeps the best text of each box alone.
        each = Owlv2ObjectDetectionOutput(
            logits=seen.logits[0].T[:, :, None],
            pred_boxes=seen.pred_boxes.expand(len(texts), -1, -1),
        )
        return self.processor.post_process_object_detection(each, ALL, [size] * len(texts))
