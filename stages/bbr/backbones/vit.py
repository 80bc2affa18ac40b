"""f as a vision transformer, read at the self-attention of one block, by default the last."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from .base import Backbone, BackboneSpec
from .feature_maps import EXTRAS, FeatureMaps

_PARTS = ("query", "key", "value")


class TransformerBackbone(Backbone):
    """A timm `VisionTransformer`; its specification says which facet of which block is read.

    Raises:
        InputError: it has no [CLS] token or no positional embeddings, or no such block.
    """

    plane_blocks = 1  # a mask head reads the penultimate block's output

    def __init__(self, spec: BackboneSpec, network: Any) -> None:
        super().__init__(spec)
        self._require_known_parts(network)
        self.network = network
        self.stride = network.patch_embed.patch_size[0]
        self.dim = network.embed_dim
        self.plane_channels = network.embed_dim
        self.heads = network.blocks[-1].attn.num_heads
        self.in_order([spec.block])
        self._read = spec.block % self.depth
        self.reach = self.depth - self._read

    def _require_known_parts(self, network: nn.Module) -> None:
        if network.cls_token is None or network.pos_embed is None:
            raise InputError(
                f"architecture {self.spec.architecture} has no [CLS] token or no positional"
                " embeddings; choose a plain vision transformer"
            )

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return len(self.network.blocks)

    def frozen_forward(self, pixels: Tensor, last: int) -> Tensor:
        """See `Backbone.frozen_forward`: tokens (B, 1 + N, D)."""
        network = self.network
        embedded = network.patch_embed.proj(pixels)
        grid = (embedded.shape[-2], embedded.shape[-1])
        patches = network.patch_embed.norm(embedded.flatten(2).transpose(1, 2))
        tokens = network.norm_pre(self._with_positions(patches, grid))
        return self._run(network.blocks[: self._first(last)], tokens, grid)

    def trainable_forward(
        self, state: Tensor, last: int, grid: tuple[int, int], extras: Collection[str] = EXTRAS
    ) -> FeatureMaps:
        """See `Backbone.trainable_forward`."""
        network, read, facet = self.network, self._read, self.spec.facet
        block, prefix = network.blocks[read], network.num_prefix_tokens
        before = self._run(network.blocks[self._first(last) : read], state, grid)
        of_attention = not {*extras} <= {"tokens"}
        parts = after = None
        if of_attention or facet in _PARTS:
            parts = self._attention_inputs(block, before)
        if "tokens" in extras or facet == "token":
            after = self._run(network.blocks[read : read + 1], before, grid)
        key = self._facet(facet, block, before, after, parts)
        maps = FeatureMaps(self._normalize(key[:, prefix:]), grid)
        if of_attention and parts is not None:
            query, _, value = (_side_by_side(part) for part in parts)
            maps = replace(
                maps,
                query=query[:, prefix:],
                value=value[:, prefix:],
                cls_parts=torch.stack([part[:, :1] for part in (query, key, value)], dim=1),
                cls_attention=self._cls_attention(parts, grid),
            )
        if "tokens" in extras and after is not None:
            tokens = network.norm(self._run(network.blocks[read + 1 :], after, grid))
            maps = replace(maps, tokens=torch.cat((tokens[:, :1], tokens[:, prefix:]), dim=1))
        return maps

    def in_order(self, blocks: Iterable[int]) -> list[int]:
        """Blocks, numbered as in the specification, as an image goes through them.

        Raises:
            InputError: there is no such block.
        """
        absent = [block for block in blocks if not -self.depth <= block < self.depth]
        if absent:
            raise InputError(
                f"block {absent[0]} does not exist: {self.spec.architecture} has {self.depth}"
                " blocks, from 0 on, and -1 is the last"
            )
        return sorted(blocks, key=lambda block: block % self.depth)

    def facets_of_blocks(
        self, pixels: Tensor, blocks: Sequence[int], facets: Sequence[str]
    ) -> Iterator[tuple[int, str, FeatureMaps]]:
        """Every facet of every block in one pass: (block, facet, maps of key and [CLS] attention).

        Args:
            pixels: (B, 3, H', W'), prepared.
            blocks: see `in_order`, in which they come.

        Raises:
            InputError: there is no such block.
        """
        waiting = self.in_order(blocks)
        grid, prefix = self.patch_grid(pixels), self.network.num_prefix_tokens
        before = self.frozen_forward(pixels, self.depth)
        for number, block in enumerate(self.network.blocks):
            after = self._run(self.network.blocks[number : number + 1], before, grid)
            parts = self._attention_inputs(block, before)
            while waiting and waiting[0] % self.depth == number:
                name, attention = waiting.pop(0), self._cls_attention(parts, grid)
                for facet in facets:
                    read = self._facet(facet, block, before, after, parts)[:, prefix:]
                    yield name, facet, FeatureMaps(self._normalize(read), grid, attention)
            before = after

    def _facet(
        self,
        facet: str,
        block: nn.Module,
        before: Tensor,
        after: Tensor | None,
        parts: tuple[Tensor, Tensor, Tensor] | None,
    ) -> Tensor:
        """What heuristics read of a block, prefix tokens included: (B, 1 + N, d).

        Args:
            before, after: tokens that go into the block and come out of it, for facet token.
            parts: its queries, keys and values, for these facets.
        """
        if facet == "token":
            return self.network.norm(after)
        if facet == "key_without_bias":
            return _side_by_side(self._key_without_bias(block, before))
        assert parts is not None, "they are there for their facets"
        return _side_by_side(parts[_PARTS.index(facet)])

    def _cls_attention(self, parts: tuple[Tensor, Tensor, Tensor], grid: tuple[int, int]) -> Tensor:
        """(B, heads, N) of [CLS] to the patches."""
        query, placed = parts[0], self._placed(parts[1], grid)
        attention = (query[:, :, :1] @ placed.transpose(-2, -1)) * query.shape[-1] ** -0.5
        return attention.softmax(dim=-1)[:, :, 0, self.network.num_prefix_tokens :]

    def trainable(self, last: int) -> nn.ModuleList:
        """See `Backbone.trainable`."""
        return nn.ModuleList([*self.network.blocks[self.depth - last :], self.network.norm])

    def plane(self, state: Tensor, grid: tuple[int, int]) -> Tensor:
        """See `Backbone.plane`."""
        return state[:, self.network.num_prefix_tokens :].unflatten(1, grid)

    def _first(self, last: int) -> int:
        """The block that `trainable_forward` begins with."""
        return self.depth - max(last, self.reach)

    def _run(self, blocks: nn.ModuleList, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        for block in blocks:
            tokens = block(tokens)
        return tokens

    def _placed(self, key: Tensor, grid: tuple[int, int]) -> Tensor:
        """Keys as [CLS] attends to them: (B, heads, 1 + N, d / heads)."""
        return key

    def _with_positions(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        network = self.network
        prefix = [network.cls_token]
        if network.reg_token is not None:
            prefix.append(network.reg_token)
        positions = network.pos_embed
        covered = positions.shape[1] - network.patch_embed.num_patches
        on_patches = interpolate_positions(
            positions[:, covered:], network.patch_embed.grid_size, grid
        )
        head = torch.cat(prefix, dim=1)
        # timm gives [CLS] a position of its own, all prefix tokens one, or none of them.
        head = torch.cat((head[:, :covered] + positions[:, :covered], head[:, covered:]), dim=1)
        return torch.cat((head.expand(len(patches), -1, -1), patches + on_patches), dim=1)

    @staticmethod
    def _attention_inputs(block: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v of a block, each (B, heads, 1 + N, d / heads)."""
        attention = block.attn
        batch, count, _ = tokens.shape
        qkv = attention.qkv(block.norm1(tokens))
        qkv = qkv.reshape(batch, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        return attention.q_norm(qkv[0]), attention.k_norm(qkv[1]), qkv[2]

    @staticmethod
    def _key_without_bias(block: nn.Module, tokens: Tensor) -> Tensor:
        """The keys of `_attention_inputs`, had their projection no bias.

        Computed as such: the bias can be many times the rest, and subtracted would leave its
        rounding behind.
        """
        attention: Any = block.attn
        norm1: Any = block.norm1
        fused = attention.qkv  # timm's rotary blocks may have three projections in its place
        weight = attention.k_proj.weight if fused is None else fused.weight.chunk(3)[1]
        key = functional.linear(norm1(tokens), weight)
        return attention.k_norm(key.unflatten(2, (attention.num_heads, -1)).transpose(1, 2))


def _side_by_side(part: Tensor) -> Tensor:
    """(B, heads, 1 + N, d / heads) to (B, 1 + N, d)."""
    return part.transpose(1, 2).flatten(2)


def interpolate_positions(
    positions: Tensor, grid: tuple[int, int], target: tuple[int, int]
) -> Tensor:
    """Positional embeddings (1, h·w, D) of a grid, resampled for a target grid as DINO does.

    DINO interpolates bicubically by a *scale factor* with 0.1 patch added, a guard against
    rounding that also shifts the sampling points a little; it is kept, since published figures
    depend on it.
    """
    if grid == target:
        return positions
    plane = positions.reshape(1, *grid, -1).permute(0, 3, 1, 2)
    factors = tuple((to + 0.1) / side for to, side in zip(target, grid, strict=True))
    plane = functional.interpolate(plane, scale_factor=factors, mode="bicubic")
    return plane.permute(0, 2, 3, 1).reshape(1, target[0] * target[1], -1)
