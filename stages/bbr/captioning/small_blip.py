"""A small BLIP for rendered scenes: transformers' own class with a few layers, on words.

As in the small CLIP, frozen ImageNet features of EfficientNet-Lite0 take the place of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipTextConfig,
    BlipVisionConfig,
    PreTrainedTokenizerFast,
)

from ..backbones.base import Backbone
from ..backbones.build import load_backbone
from ..clip.small_network import TRUNK
from ..errors import InputError
from ..options import option

PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[START]", "[END]"
_SPECIAL = (PAD, UNKNOWN, START, END)  # their numbers are their places here; words follow
_SPREAD = 0.02  # of initial weights; transformers' default leaves BLIP's vision tower at 0


@dataclass(frozen=True)
class SmallCaptionerSpec:
    """All that is needed to build a small captioner but its weights; travels with them.

    Attributes:
        vocabulary: the words that it can say.
    """

    vocabulary: tuple[str, ...] = ()
    image_size: int = option(96, "side of the crops that it sees", unit="px", min=1)
    width: int = option(128, "channels of both towers", min=1)
    layers: int = option(2, "of both towers", min=1)
    heads: int = option(4, "of both towers", min=1)
    context_length: int = option(
        32, "of a caption at most, start and end included", unit="tokens", min=1
    )


def word_tokenizer(spec: SmallCaptionerSpec) -> PreTrainedTokenizerFast:
    """Words in lower case as tokens, between a start and an end."""
    numbers = {word: i for i, word in enumerate((*_SPECIAL, *spec.vocabulary))}
    words = Tokenizer(models.WordLevel(numbers, unk_token=UNKNOWN))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(t, numbers[t]) for t in (START, END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=START,
        eos_token=END,
        sep_token=END,
        model_max_length=spec.context_length,
    )


def build_small_captioner(
    spec: SmallCaptionerSpec,
) -> tuple[BlipForConditionalGeneration, Backbone]:
    """BLIP, randomly initialised, and the frozen trunk whose map it takes for an image.

    Raises:
        InputError: sizes that do not divide.
    """
    trunk = load_backbone(TRUNK).requires_grad_(False).eval()
    if spec.image_size % trunk.stride or spec.width % spec.heads:
        raise InputError(
            f"captioner: image_size {spec.image_size} must be a multiple of {trunk.stride}, and"
            f" width {spec.width} of heads {spec.heads}"
        )
    towers: dict[str, Any] = {
        "hidden_size": spec.width,
        "intermediate_size": 4 * spec.width,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "initializer_range": _SPREAD,
    }
    vision = BlipVisionConfig(image_size=spec.image_size // trunk.stride, patch_size=1, **towers)
    text = BlipTextConfig(
        vocab_size=len(_SPECIAL) + len(spec.vocabulary),
        max_position_embeddings=spec.context_length,
        pad_token_id=_SPECIAL.index(PAD),
        bos_token_id=_SPECIAL.index(START),
        eos_token_id=_SPECIAL.index(END),
        sep_token_id=_SPECIAL.index(END),
        **towers,
    )
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))
    model.vision_model.embeddings.patch_embedding = nn.Conv2d(trunk.dim, spec.width, kernel_size=1)
    return model, trunk
