"""CLIP's dense maps, against one image at a time and head by head in double precision."""

from __future__ import annotations

import math

import numpy as np
import open_clip
import pytest
import timm
import torch
from grounding_data import noise, tiny_clip, unit_vectors
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from bbr.clip.dense import METHODS, dense_maps, patch_likeness
from bbr.clip.network import Clip
from bbr.errors import InputError


def _clip(layers: int, layer_scale: float | None = None) -> Clip:
    torch.manual_seed(layers)
    tower = {"image_size": 24, "patch_size": 8, "width": 16, "layers": layers, "head_width": 8}
    text = {"context_length": 8, "vocab_size": 10, "width": 16, "heads": 2, "layers": 1}
    model = open_clip.CLIP(8, tower | {"ls_init_value": layer_scale}, text)
    for parameter in model.visual.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # no norm that does nothing
    return Clip(model, lambda texts: torch.zeros(len(texts), 8), (24, 24), (0.5,) * 3, (0.5,) * 3)


def _blocks_read(tower: nn.Module, pixels: Tensor) -> list[np.ndarray]:
    """What each block reads of one image: (1 + N, D), by running them one after the other."""
    tokens = tower._embeds(pixels)
    read = []
    for block in tower.transformer.resblocks:
        read.append(tokens[0].double().numpy())
        tokens = block(tokens)
    return read


def _norm(layer: nn.LayerNorm, tokens: np.ndarray) -> np.ndarray:
    centred = tokens - tokens.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    return scaled * layer.weight.double().numpy() + layer.bias.double().numpy()


def _heads(block: nn.Module, tokens: np.ndarray) -> list[list[np.ndarray]]:
    """Queries, keys and values, of each head: (1 + N, d) each."""
    attention = block.attn
    weight = attention.in_proj_weight.double().numpy()
    projected = tokens @ weight.T + attention.in_proj_bias.double().numpy()
    return [np.split(part, attention.num_heads, axis=1) for part in np.split(projected, 3, axis=1)]


def _projected(block: nn.Module, heads: list[np.ndarray]) -> np.ndarray:
    projection = block.attn.out_proj
    mixed = np.concatenate(heads, axis=1) @ projection.weight.double().numpy().T
    mixed = mixed + projection.bias.double().numpy()
    scale = getattr(block.ls_1, "gamma", None)
    return mixed if scale is None else mixed * scale.double().numpy()


def _attention(rows: np.ndarray, sharpness: float) -> np.ndarray:
    weights = np.exp(sharpness * rows @ rows.T)
    return weights / weights.sum(1, keepdims=True)


def _units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _slow(clip: Clip, image: Tensor, text: Tensor, method: str) -> np.ndarray:
    tower = clip.model.visual
    read = _blocks_read(tower, clip.prepare(image[None]))
    blocks = list(tower.transformer.resblocks)
    if method == "maskclip":
        tokens = _projected(blocks[-1], _heads(blocks[-1], _norm(blocks[-1].ln_1, read[-1]))[2])
    else:
        first = max(0, len(blocks) - 7)
        tokens = read[first].copy()
        for block, before in zip(blocks[first:], read[first:], strict=True):
            normed = _norm(block.ln_1, before)
            length = np.mean([np.linalg.norm(token) for token in normed])
            parts = _heads(block, normed)
            mixed = []
            for head, value in enumerate(parts[2]):
                sharpness = length / math.sqrt(value.shape[1])
                outputs = []
                for part in parts:
                    rows = _units(part[head])
                    rows = _units(_attention(rows, sharpness) @ rows)
                    outputs.append(_attention(rows, sharpness) @ value)
                mixed.append(sum(outputs) / 3)
            tokens = tokens + _projected(block, mixed)
    embedded = _norm(tower.ln_post, tokens)[1:] @ tower.proj.double().numpy()
    return _units(embedded) @ text.double().numpy()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("layers", "layer_scale"), [(1, None), (3, 0.3), (9, None)])
@torch.no_grad()
def test_as_one_image_at_a_time_head_by_head(
    method: str, layers: int, layer_scale: float | None
) -> None:
    clip = _clip(layers, layer_scale)
    images = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    texts = torch.nn.functional.normalize(torch.randn(3, 8, generator=torch.manual_seed(2)), dim=1)
    found = patch_likeness(clip, images, texts, method)
    assert found.shape == (3, 3, 3)
    for row in range(3):
        expected = _slow(clip, images[row], texts[row], method)
        # float32 through up to nine blocks against double precision.
        np.testing.assert_allclose(found[row].flatten().numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_a_small_clip_are_in_range_and_without_gradients(method: str) -> None:
    clip = tiny_clip()
    maps = dense_maps(clip, noise(2), unit_vectors(2), (11, 13), method)
    assert maps.shape == (2, 11, 13)
    assert not maps.requires_grad
    assert maps.amin(dim=(1, 2)).tolist() == [0, 0]
    assert maps.amax(dim=(1, 2)).tolist() == [1, 1]


def test_other_towers_are_refused() -> None:
    clip = _clip(1)
    trunk = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=1, img_size=32)
    clip.model.visual = TimmModel.__new__(TimmModel)
    nn.Module.__init__(clip.model.visual)
    clip.model.visual.trunk = trunk
    with pytest.raises(InputError, match="not a plain vision transformer"):
        patch_likeness(clip, torch.zeros(1, 3, 24, 24), torch.zeros(1, 8), "gem")
