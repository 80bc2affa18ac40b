"""Where CLIP looks when it finds a text in an image: attention times its gradient.

Chefer et al. 2021 (GAE), on the last attention of the image tower alone, as WWbL uses it
(docs/protocol.md#relevancy-map). The library's modules run as they are: a hook keeps what the last
attention read and wrote, and its weights are computed anew from that. Since a head gives
O_i = Σ_j A_ij V_j, the gradient with respect to A_ij is ∂/∂O_i · V_j, so that backpropagation stops
right behind the attention.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers import AttentionPoolLatent
from timm.models.vision_transformer import Attention
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from .network import Clip
from .small_network import SmallTower


class _Site(NamedTuple):
    """The attention that is looked at, and how many tokens come before those of patches."""

    module: Any  # torch's attention or one of timm's, see `_checked`
    prefix: int


@dataclass
class _Record:
    """What an attention read, (B, N, D), and a leaf behind it, from which gradients are taken.

    The leaf is the output of torch's attention, and of timm's what its projection reads.
    """

    input: Tensor = field(init=False)
    leaf: Tensor = field(init=False)


def relevancy_maps(clip: Clip, images: Tensor, texts: Tensor, size: tuple[int, int]) -> Tensor:
    """Relevancy of each image for its text: (B, H, W) in [0, 1], 0 and 1 both reached, or with
    `bilinear` resizing nearly so.

    A map of one value throughout becomes 0.

    Args:
        images: (B, 3, ·, ·) in [0, 1].
        texts: (B, d), the unit embeddings of one text for each image.
        size: (H, W).

    Raises:
        InputError: the image tower has neither [CLS] nor attention pooling.
    """
    return spread(clip, patch_relevancy(clip, images, texts), size)


def spread(clip: Clip, patches: Tensor, size: tuple[int, int]) -> Tensor:
    """Values of patches (B, h, w) as maps (B, H, W) in [0, 1], each from 0 to 1, or with `bilinear`
    resizing nearly so; one value throughout becomes 0."""
    values = patches.unsqueeze(1)
    if clip.resizing == "bicubic":
        return _min_max(functional.interpolate(values, size, mode="bilinear").squeeze(1))
    # WWbL's code scales maps at the size of CLIP's images, and brings them to g's thereafter.
    maps = _min_max(functional.interpolate(values, clip.size, mode="bilinear").squeeze(1))
    resized = functional.interpolate(maps.unsqueeze(1), size, mode="bilinear", align_corners=True)
    return resized.squeeze(1)


def _min_max(maps: Tensor) -> Tensor:
    """(B, H, W) each from 0 to 1."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)


def patch_relevancy(clip: Clip, images: Tensor, texts: Tensor) -> Tensor:
    """The row of [CLS], without itself, of R = I + mean over heads of relu(∇A ⊙ A): (B, h, w)."""
    site = _last_attention(clip.model.visual)
    with torch.enable_grad(), _recorded(site.module) as record:
        similarity = (clip.encode_images(images) * texts.detach()).sum()
        (gradient,) = torch.autograd.grad(similarity, record.leaf)
    with torch.no_grad():
        query, key, value = attention_parts(site.module, record.input)
        # Only the output of the first query, [CLS], goes on from here.
        query = query[:, :, :1]
        attention = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(dim=-1)
        by_head = _split_heads(_before_projection(site.module, gradient[:, :1]), query.shape[1])
        relevancy = (by_head @ value.transpose(-1, -2) * attention).relu().mean(dim=1)
    patches = relevancy[:, 0, site.prefix :].float()
    side = math.isqrt(patches.shape[1])
    return patches.view(-1, side, side)


@contextmanager
def _recorded(module: Any) -> Iterator[_Record]:
    """While the block runs, a call of the module is recorded and cut off from what came before."""
    record = _Record()

    def read(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        record.input = inputs[0].detach()

    def leaf(tensor: Tensor) -> Tensor:
        record.leaf = tensor.detach().requires_grad_()
        return record.leaf

    handles = [module.register_forward_pre_hook(read)]
    if isinstance(module, nn.MultiheadAttention):  # which does not call its projection as a module
        handles.append(
            module.register_forward_hook(lambda _, inputs, output: (leaf(output[0]), *output[1:]))
        )
    else:
        handles.append(module.proj.register_forward_pre_hook(lambda _, inputs: (leaf(inputs[0]),)))
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _before_projection(module: nn.Module, gradient: Tensor) -> Tensor:
    """The gradient with respect to the concatenated heads: (B, M, D)."""
    if isinstance(module, nn.MultiheadAttention):
        return gradient @ module.out_proj.weight
    return gradient


def _last_attention(tower: nn.Module) -> _Site:
    if isinstance(tower, SmallTower):
        return _last_attention(tower.transformer)
    if is_plain_transformer(tower):
        return _checked(_Site(tower.transformer.resblocks[-1].attn, 1))
    if isinstance(tower, TimmModel):
        trunk = tower.trunk
        if getattr(trunk, "attn_pool", None) is not None:
            return _checked(_Site(trunk.attn_pool, trunk.num_prefix_tokens))
        if getattr(trunk, "global_pool", None) == "token":
            return _checked(_Site(trunk.blocks[-1].attn, trunk.num_prefix_tokens))
    raise InputError(
        f"relevancy: the image tower {type(tower).__name__} of this CLIP has neither [CLS] nor"
        " attention pooling; choose a plain vision transformer"
    )


def is_plain_transformer(tower: nn.Module) -> TypeGuard[VisionTransformer]:
    """Whether an image tower is open_clip's own transformer, of which [CLS] is the output."""
    known = isinstance(tower, VisionTransformer)
    return known and tower.pool_type == "tok" and not tower.attn_pool


def _checked(site: _Site) -> _Site:
    """The site, where `attention_parts` says all that its module does."""
    module = site.module
    known = isinstance(module, nn.MultiheadAttention | Attention | AttentionPoolLatent)
    if isinstance(module, nn.MultiheadAttention):
        known = module.batch_first
    if not known or not all(isinstance(part, nn.Identity | None) for part in _extras(module)):
        raise InputError(
            f"relevancy: the attention {type(module).__name__} of this CLIP is of no known kind;"
            " choose a plain vision transformer"
        )
    return site


def _extras(module: nn.Module) -> list[nn.Module | None]:
    """Parts of timm's attention that some networks add between weights and projection."""
    if not isinstance(module, Attention):
        return []
    return [getattr(module, name, None) for name in ("norm", "gate")]


def attention_parts(module: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value: (B, heads, N, D / heads) each."""
    heads = module.num_heads
    if isinstance(module, nn.MultiheadAttention):
        projected = functional.linear(tokens, module.in_proj_weight, module.in_proj_bias)
        query, key, value = (_split_heads(part, heads) for part in projected.chunk(3, dim=-1))
        return query, key, value
    if isinstance(module, Attention):
        parts = [_split_heads(part, heads) for part in module.qkv(tokens).chunk(3, dim=-1)]
    else:
        if module.pos_embed is not None:
            tokens = tokens + module.pos_embed
        query = module.q(module.latent.expand(len(tokens), -1, -1))
        parts = [_split_heads(p, heads) for p in (query, *module.kv(tokens).chunk(2, dim=-1))]
    return module.q_norm(parts[0]), module.k_norm(parts[1]), parts[2]


def _split_heads(tokens: Tensor, heads: int) -> Tensor:
    """(B, N, D) to (B, heads, N, D / heads)."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)
