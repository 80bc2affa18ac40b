"""The training of a small BLIP: what it reads of crops and texts, and its loss."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ..clip.small_network import words_of
from ..command_line.cli import progress
from ..data.images import read_indexed
from ..data.index import Index
from ..data.loading import chunks
from .blip import Captioner
from .crops import BACKGROUND, Crop

_OBSERVED_AT_ONCE = 64
_IGNORED = -100  # the label of what is no part of a text


def observe_crops(dataset: Index, crops: list[Crop], captioner: Captioner) -> Tensor:
    """What BLIP reads of the crops of a dataset: (n, C, s, s) float16 on the CPU."""
    images = {crop.position: dataset.images[crop.position] for crop in crops}
    pixels = {i: read_indexed(dataset.image_path(image), image) for i, image in images.items()}
    batches = list(chunks(crops, _OBSERVED_AT_ONCE))
    parts = []
    for batch in progress(batches, len(batches), "batches of crops observed"):
        cut = [pixels[c.position][c.box[1] : c.box[3], c.box[0] : c.box[2]] for c in batch]
        parts.append(captioner.observe(cut).half().cpu())
    return torch.cat(parts)


def tokens_of(texts: list[str], captioner: Captioner, fabric: Fabric) -> tuple[Tensor, Tensor]:
    """Token ids of B texts and their mask, on Fabric's device: (B, L) each."""
    encoded = captioner.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    return fabric.to_device(encoded["input_ids"]), fabric.to_device(encoded["attention_mask"])


class Telling(nn.Module):
    """BLIP's language loss: each token from the image and the tokens before it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, observed: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Observed crops (B, C, s, s), token ids (B, L) and their mask (B, L) to a scalar."""
        labels = tokens.masked_fill(mask == 0, _IGNORED)
        return self.model(observed, tokens, attention_mask=mask, labels=labels).loss


def vocabulary_of(crops: list[Crop]) -> tuple[str, ...]:
    """Every word of the texts of crops, and of those of backgrounds, in alphabetical order."""
    texts = [text for crop in crops for of_object in crop.texts for text in of_object]
    return tuple(sorted({word for text in [BACKGROUND, "and", *texts] for word in words_of(text)}))
