"""Where an image is like a text, read off CLIP's patches without gradients and without training.

`maskclip` (Zhou et al. 2022): the value of each patch in the last attention goes through that
attention's projection and to the space of texts, as [CLS] otherwise does. Neither the block's
residual nor its MLP is added.

`gem` (Bousselham et al. 2024): beside the last blocks runs a second path, to which each of them
adds what its attention gives if patches attend to those that are like them: by their queries, keys
and values in turn, each of unit length, sharpened once by its own attention, and averaged over the
three. The path has no MLP.

docs/protocol.md#dense-clip-maps says what was decided where the papers leave it open.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from .network import Clip
from .relevancy import attention_parts, is_plain_transformer, spread
from .small_network import SmallTower

METHODS = ("maskclip", "gem")
_GEM_BLOCKS = 7  # of the last ones; all of a shallower network


@torch.no_grad()
def dense_maps(
    clip: Clip, images: Tensor, texts: Tensor, size: tuple[int, int], method: str
) -> Tensor:
    """Likeness of each image's patches to its text: (B, H, W) in [0, 1], 0 and 1 both reached.

    A map of one value throughout becomes 0.

    Args:
        images: (B, 3, ·, ·) in [0, 1].
        texts: (B, d), the unit embeddings of one text for each image.
        size: (H, W).
        method: one of `METHODS`.

    Raises:
        InputError: the image tower is not a plain transformer of open_clip's with [CLS].
    """
    return spread(clip, patch_likeness(clip, images, texts, method), size)


def patch_likeness(clip: Clip, images: Tensor, texts: Tensor, method: str) -> Tensor:
    """Cosine of each patch with the text: (B, h, w)."""
    tower = _plain_tower(clip.model.visual)
    blocks = tower.transformer.resblocks[-(1 if method == "maskclip" else _GEM_BLOCKS) :]
    with _inputs_of(blocks) as read:
        clip.encode_images(images)
    if method == "maskclip":
        tokens = _values(blocks[-1], read[-1])
    else:
        tokens = read[0].clone()
        for block, before in zip(blocks, read, strict=True):
            tokens += block.ls_1(_self_self_attention(block, before))
    patches = tower.ln_post(tokens)[:, 1:]
    if tower.proj is not None:
        patches = patches @ tower.proj
    likeness = (functional.normalize(patches, dim=-1) @ texts.unsqueeze(2))[..., 0].float()
    side = math.isqrt(likeness.shape[1])
    return likeness.view(-1, side, side)


def _values(block: Any, tokens: Tensor) -> Tensor:
    """Values of the block's attention through its projection: (B, 1 + N, D)."""
    _, _, value = attention_parts(block.attn, block.ln_1(tokens))
    return block.ls_1(block.attn.out_proj(_together(value)))


def _self_self_attention(block: Any, tokens: Tensor) -> Tensor:
    """What the block's attention gives where patches attend to those like them: (B, 1 + N, D)."""
    normalised = block.ln_1(tokens)
    parts = attention_parts(block.attn, normalised)
    value = parts[2]
    # Vectors of unit length have small products: as much sharper as the tokens are longer.
    length = normalised.norm(dim=-1).mean(dim=-1).view(-1, 1, 1, 1)
    sharpness = length / math.sqrt(value.shape[-1])
    found = torch.zeros_like(value)
    for part in parts:
        units = functional.normalize(part, dim=-1)
        sharpened = functional.normalize(_likeness(units, sharpness) @ units, dim=-1)
        found += _likeness(sharpened, sharpness) @ value
    return block.attn.out_proj(_together(found / len(parts)))


def _likeness(units: Tensor, sharpness: Tensor) -> Tensor:
    """(B, heads, 1 + N, 1 + N): how much each token takes of each."""
    return (units @ units.transpose(-1, -2) * sharpness).softmax(dim=-1)


def _together(heads: Tensor) -> Tensor:
    """(B, heads, 1 + N, D / heads) to (B, 1 + N, D)."""
    return heads.transpose(1, 2).flatten(2)


@contextmanager
def _inputs_of(blocks: nn.ModuleList) -> Iterator[list[Tensor]]:
    """What each of the blocks reads while the network runs: (B, 1 + N, D) each."""
    read: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        read.append((inputs[0] if inputs else named["q_x"]).detach())

    handles = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in blocks]
    try:
        yield read
    finally:
        for handle in handles:
            handle.remove()


def _plain_tower(tower: nn.Module) -> VisionTransformer:
    """The transformer, where all that `patch_likeness` leaves out is what it should."""
    if isinstance(tower, SmallTower):
        return _plain_tower(tower.transformer)
    if is_plain_transformer(tower):
        attentions = [block.attn for block in tower.transformer.resblocks]
        if all(isinstance(a, nn.MultiheadAttention) and a.batch_first for a in attentions):
            return tower
    raise InputError(
        f"dense maps: the image tower {type(tower).__name__} of this CLIP is not a plain vision"
        " transformer of open_clip's with [CLS]; choose one, such as ViT-B-16"
    )
