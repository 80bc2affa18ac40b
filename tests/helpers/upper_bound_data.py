"""Tiny random networks of the classes that detect phrases or segment boxes, in folders as
transformers' `save_pretrained` writes them, with tokenizers of a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
    Owlv2Processor,
    PreTrainedModel,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3Model,
    Sam3Processor,
    SamConfig,
    SamImageProcessorPil,
    SamModel,
    SamProcessor,
)

_TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
_TOWER |= {"num_attention_heads": 2}
_HEADS = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}


def write_grounding_dino(folder: Path, seed: int = 0) -> Path:
    """Grounding DINO on a Swin of two stages, on images of up to 96 pixels."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *letters]
    words += [f"##{letter}" for letter in letters]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    swin = {"model_type": "swin", "image_size": 32, "patch_size": 2, "embed_dim": 8}
    swin |= {"depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
    config = GroundingDinoConfig(
        backbone_config=swin | {"out_indices": [1, 2]},
        text_config={"model_type": "bert", "vocab_size": len(words), **_TOWER},
        num_feature_levels=3,
        num_queries=12,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        d_model=32,
        max_text_len=64,
    )
    image = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(image, tokenizer).save_pretrained(folder)
    return _write(GroundingDinoForObjectDetection, config, folder, seed)


def write_owlv2(folder: Path, seed: int = 0) -> Path:
    """OWLv2 on squares of 32 pixels, 16 patches."""
    config = Owlv2Config(
        text_config={**_TOWER, **_clip_text(16)},
        vision_config={**_TOWER, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    image = Owlv2ImageProcessorPil(size={"height": 32, "width": 32})
    Owlv2Processor(image, _clip_tokenizer(16)).save_pretrained(folder)
    return _write(Owlv2ForObjectDetection, config, folder, seed)


def write_sam3(folder: Path, seed: int = 0) -> Path:
    """SAM 3 on squares of 56 pixels, 16 patches."""
    vit = {"model_type": "sam3_vit_model", **_TOWER, "image_size": 56, "patch_size": 14}
    vit |= {"window_size": 2, "global_attn_indexes": [0], "pretrain_image_size": 56}
    layers = {**_HEADS, "num_layers": 1}
    config = Sam3Config(
        vision_config={
            "backbone_config": vit,
            "fpn_hidden_size": 16,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config={"model_type": "clip_text_model", "projection_dim": 16}
        | _TOWER
        | _clip_text(32),
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config={**layers, "num_queries": 12},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2},
    )
    image = Sam3ImageProcessor(size={"height": 56, "width": 56})
    Sam3Processor(image, _clip_tokenizer(32)).save_pretrained(folder)
    return _write(Sam3Model, config, folder, seed)


def write_sam(folder: Path, seed: int = 0) -> Path:
    """SAM on images of up to 64 pixels, 16 patches."""
    vision = {**_TOWER, "image_size": 64, "patch_size": 16, "output_channels": 16}
    config = SamConfig(
        vision_config=vision
        | {"window_size": 2, "global_attn_indexes": [0], "num_pos_feats": 8, "mlp_dim": 32},
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    image = SamImageProcessorPil(
        size={"longest_edge": 64},
        pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )
    SamProcessor(image).save_pretrained(folder)
    return _write(SamModel, config, folder, seed)


def literal_best(
    folder: Path, network: str, image: np.ndarray, text: str
) -> tuple[float, list[float]]:
    """The best box of one text as transformers' own documentation has it done: score, xyxy."""
    size = [image.shape[:2]]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if network == "grounding_dino":
        images = GroundingDinoImageProcessorPil.from_pretrained(folder)
        processor: Any = GroundingDinoProcessor(images, tokenizer)
        model: Any = GroundingDinoForObjectDetection.from_pretrained(folder)
        inputs = processor(images=image, text=[text.lower() + "."], return_tensors="pt")
        finish = processor.post_process_grounded_object_detection
        more: dict[str, Any] = {"text_threshold": 0.0}
    elif network == "owlv2":
        processor = Owlv2Processor(Owlv2ImageProcessorPil.from_pretrained(folder), tokenizer)
        model = Owlv2ForObjectDetection.from_pretrained(folder)
        inputs = processor(images=image, text=[[text]], return_tensors="pt", truncation=True)
        finish, more = processor.post_process_grounded_object_detection, {}
    else:
        processor = Sam3Processor.from_pretrained(folder)
        model = Sam3Model.from_pretrained(folder)
        inputs = processor(images=image, return_tensors="pt")
        # Its processor does as much, but for texts that are too long: words are letters here.
        long = {"padding": "max_length", "max_length": 32, "truncation": True}
        inputs.update(tokenizer(text, return_tensors="pt", **long))
        inputs.pop("original_sizes")
        finish, more = processor.post_process_object_detection, {}
    with torch.no_grad():
        outputs = model.eval()(**inputs)
    (found,) = finish(outputs, threshold=0.0, target_sizes=size, **more)
    best = int(found["scores"].argmax())
    return float(found["scores"][best]), found["boxes"][best].tolist()


WRITERS = {"grounding_dino": write_grounding_dino, "owlv2": write_owlv2, "sam3": write_sam3}


def _clip_text(context_length: int) -> dict[str, int]:
    tokens = {"vocab_size": 54, "bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}
    return {**tokens, "max_position_embeddings": context_length}


def _clip_tokenizer(context_length: int) -> CLIPTokenizer:
    """Every letter is a token, at the end of a word another one."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=context_length)


def _write(kind: type[PreTrainedModel], config: object, folder: Path, seed: int) -> Path:
    """Random weights, far enough from 0 for texts to matter."""
    torch.manual_seed(seed)
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
    model.save_pretrained(folder)
    return folder
