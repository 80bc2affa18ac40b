"""The inpainter of MOVE's training: a masked autoencoder (MAE, He et al. 2022) with its decoder.

timm has the encoder alone. Names of parameters are those of the public MAE checkpoints, so that
their files load key for key.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from ..options import option
from ..storage.foreign_checkpoints import read_checkpoint
from ..storage.safetensors_files import fit_weights, write_tensors


@dataclass(frozen=True)
class AutoencoderSpec:
    """All that is needed to build the autoencoder but its weights.

    Attributes:
        mean, std: per-channel statistics of the RGB input in [0, 1].
    """

    image_size: int = option(
        224, "side of the square input, divisible by the patch size", unit="px", min=1
    )
    patch_size: int = option(16, "side of a patch", unit="px", min=1)
    dim: int = option(1024, "channels of the encoder", min=1)
    depth: int = option(24, "blocks of the encoder", min=1)
    heads: int = option(16, "of the encoder", min=1)
    decoder_dim: int = option(512, "channels of the decoder", min=1)
    decoder_depth: int = option(8, "blocks of the decoder", min=1)
    decoder_heads: int = option(16, "of the decoder", min=1)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def side(self) -> int:
        """Patches on a side."""
        return self.image_size // self.patch_size


class _PatchEmbed(nn.Module):
    """One convolution, whose name in checkpoints is `patch_embed.proj`."""

    def __init__(self, patch_size: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, N, dim)."""
        return self.proj(pixels).flatten(2).transpose(1, 2)


class MaskedAutoencoder(nn.Module):
    """Images (B, 3, S, S) in [0, 1] to their reconstructions of the same shape.

    Raises:
        InputError: the image is not cut evenly into patches, or a width not into heads.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: AutoencoderSpec) -> None:
        super().__init__()
        if spec.image_size % spec.patch_size:
            raise InputError(
                f"inpainter: image_size {spec.image_size} is not a multiple of patch_size"
                f" {spec.patch_size}"
            )
        if spec.dim % spec.heads or spec.decoder_dim % spec.decoder_heads:
            raise InputError("inpainter: dim and decoder_dim must be multiples of their heads")
        self.spec = spec
        norm: Any = partial(nn.LayerNorm, eps=1e-6)  # timm calls it; its annotation says a class
        count = spec.side**2 + 1
        self.patch_embed = _PatchEmbed(spec.patch_size, spec.dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, spec.dim) * 0.02)
        self.pos_embed = nn.Parameter(sine_positions(spec.side, spec.dim), requires_grad=False)
        self.blocks = nn.ModuleList(
            Block(spec.dim, spec.heads, qkv_bias=True, norm_layer=norm) for _ in range(spec.depth)
        )
        self.norm = norm(spec.dim)
        self.decoder_embed = nn.Linear(spec.dim, spec.decoder_dim)
        self.mask_token = nn.Parameter(torch.randn(1, 1, spec.decoder_dim) * 0.02)
        self.decoder_pos_embed = nn.Parameter(
            sine_positions(spec.side, spec.decoder_dim), requires_grad=False
        )
        self.decoder_blocks = nn.ModuleList(
            Block(spec.decoder_dim, spec.decoder_heads, qkv_bias=True, norm_layer=norm)
            for _ in range(spec.decoder_depth)
        )
        self.decoder_norm = norm(spec.decoder_dim)
        self.decoder_pred = nn.Linear(spec.decoder_dim, spec.patch_size**2 * 3)
        assert self.pos_embed.shape[1] == count
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def encode(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Tokens (B, 1 + n, dim) of the patches kept, [CLS] first.

        Args:
            images: (B, 3, S, S) in [0, 1].
            kept: (B, n) int64 patch numbers, row-major; None keeps all.
        """
        patches = self.patch_embed((images - self.mean) / self.std) + self.pos_embed[:, 1:]
        if kept is not None:
            patches = patches.gather(1, kept.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(patches), -1, -1)
        tokens = torch.cat((cls, patches), dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def decode(self, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        """Reconstruction (B, 3, S, S) in [0, 1] units, not clipped.

        Args:
            tokens: (B, 1 + N, dim) of all patches.
            visible: (B, N) in [0, 1]: how much of each patch's token the decoder gets, the rest
                being the mask token (MOVE's soft masks); None shows all.
        """
        hidden = self.decoder_embed(tokens)
        if visible is not None:
            share = visible.unsqueeze(-1).to(hidden.dtype)
            patches = share * hidden[:, 1:] + (1 - share) * self.mask_token
            hidden = torch.cat((hidden[:, :1], patches), dim=1)
        return self._draw(hidden)

    def reconstruct(self, images: Tensor, kept: Tensor) -> Tensor:
        """Reconstruction (B, 3, S, S) from the patches kept alone: MAE's own training.

        Args:
            kept: (B, n) int64, as in `encode`.
        """
        tokens = self.decoder_embed(self.encode(images, kept))
        patches = self.mask_token.to(tokens.dtype).repeat(len(images), self.spec.side**2, 1)
        index = kept.unsqueeze(-1).expand(-1, -1, patches.shape[-1])
        patches = patches.scatter(1, index, tokens[:, 1:])
        return self._draw(torch.cat((tokens[:, :1], patches), dim=1))

    def _draw(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.decoder_pos_embed
        for block in self.decoder_blocks:
            hidden = block(hidden)
        patches = self.decoder_pred(self.decoder_norm(hidden))[:, 1:]
        return unpatchify(patches, self.spec.patch_size) * self.std + self.mean


def unpatchify(patches: Tensor, patch_size: int) -> Tensor:
    """(B, side², patch_size² · 3), channels last, to images (B, 3, S, S)."""
    batch, count, _ = patches.shape
    side = round(count**0.5)
    pixels = patches.view(batch, side, side, patch_size, patch_size, 3)
    return pixels.permute(0, 5, 1, 3, 2, 4).reshape(batch, 3, side * patch_size, side * patch_size)


def visible_patches(mask: Tensor, patch_size: int) -> Tensor:
    """How much of each patch is left to see where `mask` (B, 1, S, S) is to be inpainted: (B, N).

    A patch is hidden as much as its most masked pixel asks for.
    """
    return 1 - functional.max_pool2d(mask, patch_size).flatten(1)


def sine_positions(side: int, dim: int) -> Tensor:
    """MAE's fixed embeddings of a side × side grid, zeros for [CLS] first: (1, 1 + side², dim).

    The first half of the channels tells the column, the second the row; in each half sines come
    before cosines, of frequencies 10000^(-i / (dim / 4)).
    """
    frequency = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    angle = torch.arange(side, dtype=torch.float64)[:, None] * frequency
    line = torch.cat((angle.sin(), angle.cos()), dim=1)
    columns, rows = line.repeat(side, 1), line.repeat_interleave(side, dim=0)
    grid = torch.cat((columns, rows), dim=1)
    return torch.cat((torch.zeros(1, dim), grid.float())).unsqueeze(0)


def save_autoencoder(
    path: Path | str, autoencoder: MaskedAutoencoder, provenance: dict[str, Any]
) -> None:
    """Write the weights with their specification and provenance as safetensors."""
    metadata = {"inpainter": asdict(autoencoder.spec), "provenance": provenance}
    write_tensors(path, autoencoder.state_dict(), metadata)


def load_autoencoder(path: Path | str) -> MaskedAutoencoder:
    """The autoencoder in a file of ours or of the public MAE's layout, in evaluation mode.

    Raises:
        InputError: the file is missing or holds something else.
    """
    tensors, metadata = read_checkpoint(path)
    stored = metadata.get("inpainter")
    spec = AutoencoderSpec(**_as_tuples(stored)) if stored else _spec_of(tensors, path)
    autoencoder = MaskedAutoencoder(spec)
    fit_weights(autoencoder, tensors, str(path), "masked autoencoder")
    return autoencoder.eval().requires_grad_(False)


def _as_tuples(stored: dict[str, Any]) -> dict[str, Any]:
    return stored | {name: tuple(stored[name]) for name in ("mean", "std")}  # lists in JSON


# Heads do not show in shapes; these are the public models', all of whose decoders have 16.
_PUBLIC_HEADS = {768: 12, 1024: 16, 1280: 16}


def _spec_of(tensors: dict[str, Tensor], path: Path | str) -> AutoencoderSpec:
    """The specification of a public checkpoint, from the shapes of its tensors."""
    try:
        dim, _, patch_size, _ = tensors["patch_embed.proj.weight"].shape
        side = round((tensors["pos_embed"].shape[1] - 1) ** 0.5)
        return AutoencoderSpec(
            image_size=side * patch_size,
            patch_size=patch_size,
            dim=dim,
            depth=_count_blocks(tensors, "blocks"),
            heads=_PUBLIC_HEADS[dim],
            decoder_dim=tensors["mask_token"].shape[-1],
            decoder_depth=_count_blocks(tensors, "decoder_blocks"),
        )
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path}: not a masked autoencoder with its decoder ({error}); give MAE's"
            " mae_visualize_vit_*.pth, or a file made by pretrain_inpainter.py"
        ) from error


def _count_blocks(tensors: dict[str, Tensor], prefix: str) -> int:
    return len({name.split(".")[1] for name in tensors if name.startswith(f"{prefix}.")})
