"""What tests of captions share: a tiny captioner, crops, and a folder as BLIP is published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from transformers import BlipConfig, BlipForConditionalGeneration, BlipTextConfig, BlipVisionConfig

from bbr.captioning.blip import Captioner, new_small_captioner
from bbr.captioning.small_blip import SmallCaptionerSpec

WORDS = ("a", "and", "blue", "disc", "image", "mug", "of", "red", "striped")


def tiny_captioner(seed: int = 0, context_length: int = 32) -> Captioner:
    """One layer on crops of 32 pixels; random, and sure enough of itself to say several things."""
    torch.manual_seed(seed)
    spec = SmallCaptionerSpec(
        WORDS, image_size=32, width=16, layers=1, heads=2, context_length=context_length
    )
    captioner = new_small_captioner(spec)
    with torch.no_grad():
        for parameter in captioner.model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.5)
    return captioner


def some_crops(count: int = 5, seed: int = 0) -> list[np.ndarray]:
    """Coloured noise of several sizes."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(8, 60, (count, 2))
    return [rng.integers(0, 255, (h, w, 3)).astype(np.uint8) for h, w in sizes.tolist()]


def write_published(folder: Path, seed: int = 0) -> BlipForConditionalGeneration:
    """A folder in the layout of Salesforce/blip-image-captioning-base, of a tiny network."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *WORDS, "##s", "[DEC]", "[ENC]"]
    numbers = {word: i for i, word in enumerate(words)}
    size = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = BlipTextConfig(
        vocab_size=len(words),
        bos_token_id=numbers["[DEC]"],
        eos_token_id=2,
        sep_token_id=numbers["[SEP]"],
        pad_token_id=0,
        max_position_embeddings=40,
        initializer_range=0.5,
        **size,
    )
    vision = BlipVisionConfig(image_size=32, patch_size=8, initializer_range=0.5, **size)
    torch.manual_seed(seed)
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "do_normalize": True,
                "do_resize": True,
                "image_processor_type": "BlipImageProcessor",
                "image_mean": [0.48145466, 0.4578275, 0.40821073],
                "image_std": [0.26862954, 0.26130258, 0.27577711],
                "processor_class": "BlipProcessor",
                "resample": 3,
                "rescale_factor": 1 / 255,
                "size": {"height": 32, "width": 32},
                "size_divisor": 16,
            }
        )
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "cls_token": "[CLS]",
                "do_lower_case": True,
                "mask_token": "[MASK]",
                "model_max_length": 512,
                "pad_token": "[PAD]",
                "processor_class": "BlipProcessor",
                "sep_token": "[SEP]",
                "tokenizer_class": "BertTokenizer",
                "unk_token": "[UNK]",
            }
        )
    )
    (folder / "special_tokens_map.json").write_text(
        json.dumps(
            {
                "cls_token": "[CLS]",
                "mask_token": "[MASK]",
                "pad_token": "[PAD]",
                "sep_token": "[SEP]",
                "unk_token": "[UNK]",
            }
        )
    )
    return model.eval()
