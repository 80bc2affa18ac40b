"""f as a vision transformer with rotary positions, such as DINOv3: timm's `Eva` class."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import apply_rot_embed_cat
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from .vit import TransformerBackbone


class RotaryTransformerBackbone(TransformerBackbone):
    """As `TransformerBackbone`, but positions turn queries and keys in every block.

    `FeatureMaps` has queries and keys before they are turned: turned ones say where a patch
    lies, and would be unlike for that alone. A bias of keys is added before the turn, or there
    is none (DINOv3). The [CLS] attention is that of the network, with turned keys.
    """

    def _require_known_parts(self, network: nn.Module) -> None:
        plain = (
            network.cls_token is not None
            and network.pos_embed is None
            and network.rope is not None
            and not network.rope_mixed
        )
        if not plain:
            raise InputError(
                f"architecture {self.spec.architecture} has no [CLS] token, or other positions"
                " than rotary ones that all blocks share; choose DINOv3 or a plain vision"
                " transformer"
            )

    def _with_positions(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        network = self.network
        prefix = [p for p in (network.cls_token, network.reg_token) if p is not None]
        return torch.cat([*(p.expand(len(patches), -1, -1) for p in prefix), patches], dim=1)

    def _run(self, blocks: nn.ModuleList, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        turns = self.network.rope.get_embed(shape=grid)
        for block in blocks:
            tokens = block(tokens, rope=turns)
        return tokens

    def _placed(self, key: Tensor, grid: tuple[int, int]) -> Tensor:
        prefix = self.network.num_prefix_tokens
        half = self.network.blocks[self._read].attn.rotate_half
        turns = self.network.rope.get_embed(shape=grid)
        turned = apply_rot_embed_cat(key[:, :, prefix:], turns, half=half).type_as(key)
        return torch.cat((key[:, :, :prefix], turned), dim=2)

    @staticmethod
    def _attention_inputs(block: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `TransformerBackbone`; timm keeps the biases of the three apart or leaves them out,
        and the projections in one matrix or in three."""
        attention = block.attn
        tokens = block.norm1(tokens)
        if attention.qkv is None:
            parts = [
                project(tokens)
                for project in (attention.q_proj, attention.k_proj, attention.v_proj)
            ]
        else:
            biases = [attention.q_bias, attention.k_bias, attention.v_bias]
            bias = attention.qkv.bias if biases[0] is None else torch.cat(biases)
            parts = [*functional.linear(tokens, attention.qkv.weight, bias).chunk(3, dim=2)]
        query, key, value = (
            part.unflatten(2, (attention.num_heads, -1)).transpose(1, 2) for part in parts
        )
        return attention.q_norm(query), attention.k_norm(key), value
