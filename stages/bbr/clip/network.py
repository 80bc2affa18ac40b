"""CLIP as the paper uses it, frozen: any architecture of open_clip, or a small one of ours.

Images are (B, 3, H, W) in [0, 1] of any size; embeddings have unit length, so that their inner
product is the cosine that the paper writes CLIP(I, t).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from ..options import option, recorded
from ..storage.foreign_checkpoints import read_checkpoint
from ..storage.safetensors_files import fit_weights, write_tensors
from .small_network import SmallClipSpec, WordTokenizer, build_small_clip, is_from_package

PREFIX = "image of "
PIXELS = ("clip", "half")
RESIZING = ("bicubic", "bilinear")
_FILE_ENDINGS = (".safetensors", ".pt", ".pth", ".bin")


class Clip(nn.Module):
    """Both towers of a CLIP, in evaluation mode and without gradients of their own.

    Attributes:
        model: open_clip's network.
        spec: of a small CLIP of ours, else None.
        hidden: what a masked pixel becomes, in [0, 1].
        resizing: how images change size, see `resized`.
    """

    model: Any  # of several classes, whose parts have no common type
    mean: Tensor
    std: Tensor
    hidden: float = 0.0
    resizing: str = "bicubic"

    def __init__(
        self,
        model: nn.Module,
        tokenize: Callable[[list[str]], Tensor],
        size: tuple[int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        spec: SmallClipSpec | None = None,
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.tokenize, self.size, self.spec = tokenize, size, spec
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def prepare(self, images: Tensor) -> Tensor:
        """Images at the network's size, normalised; gradients pass through."""
        return (self.resized(images) - self.mean) / self.std

    def resized(self, images: Tensor) -> Tensor:
        """(B, C, H, W) at the network's size: `bicubic` with antialiasing, or as WWbL has it
        `bilinear` with corners aligned."""
        if tuple(images.shape[-2:]) == self.size:
            return images
        # In float32: under bf16 Fabric rounds what a network reads, and a CPU cannot resize it.
        images = images.float()
        if self.resizing == "bilinear":
            return functional.interpolate(images, self.size, mode="bilinear", align_corners=True)
        return functional.interpolate(images, self.size, mode="bicubic", antialias=True)

    def take_pixels(self, pixels: str) -> Clip:
        """Normalise by CLIP's own mean and std (`clip`), and hide pixels in black; or by 0.5 and
        0.5 (`half`), and hide them in what is 0 then: grey."""
        if pixels == "half":
            self.mean.fill_(0.5)
            self.std.fill_(0.5)
            self.hidden = 0.5
        return self

    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B, d) of unit length."""
        return functional.normalize(self.model.encode_image(self.prepare(images)), dim=-1)

    def encode_texts(self, texts: list[str]) -> Tensor:
        """B texts to (B, d) of unit length; see `prompt` for what a phrase is to look like."""
        tokens = self.tokenize(texts).to(self.mean.device)
        return functional.normalize(self.model.encode_text(tokens), dim=-1)


def prompt(phrase: str) -> str:
    """A phrase as CLIP is shown it: "image of " before it, in lower case.

    See docs/protocol.md#training-text.
    """
    return f"{PREFIX}{phrase}".lower()


def to_unit(images: Tensor) -> Tensor:
    """uint8 images to float32 in [0, 1]."""
    return images.float() / 255


def load_clip(weights: str, architecture: str | None = None) -> Clip:
    """CLIP with its weights.

    Args:
        weights: a file (ours says what network it is for), or a pretrained tag of open_clip,
            such as `openai`.
        architecture: open_clip's name, such as `ViT-B-32-quickgelu`; not for files of ours.

    Raises:
        InputError: unknown name or tag, weights that do not fit or cannot be fetched.
    """
    path = weights_path(weights)
    tensors, metadata = read_checkpoint(path) if path else ({}, {})
    if "clip" in metadata:
        return _load_small(path, tensors, metadata["clip"])
    if architecture is None:
        raise InputError(f"--clip {weights} does not name a network; add --clip-architecture")
    _require_known(architecture)
    model, tokenize = _open_clip(architecture, None if path else weights)
    if path:
        fit_weights(model, tensors, str(path), architecture)
    cfg = open_clip.get_model_preprocess_cfg(model)
    side = cfg["size"]
    size = (side, side) if isinstance(side, int) else tuple(side)
    mean, std = _normalization(architecture) if path else (cfg["mean"], cfg["std"])
    return Clip(model, tokenize, size, mean, std)


def _normalization(architecture: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std for a file of weights, which does not say.

    Those of open_clip's own weights of the network, the first that are listed; OpenAI's where
    there are none.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    known = open_clip.get_pretrained_cfg(architecture, tags[0]) if tags else {}
    mean, std = known.get("mean"), known.get("std")
    return tuple(mean or open_clip.OPENAI_DATASET_MEAN), tuple(std or open_clip.OPENAI_DATASET_STD)


def weights_path(weights: str) -> Path | None:
    """The path in --clip, or None where it is a tag of open_clip."""
    path = Path(os.path.expanduser(weights))
    return path if path.suffix in _FILE_ENDINGS or path.exists() else None


def new_open_clip(architecture: str) -> nn.Module:
    """A network of open_clip, randomly initialised.

    Raises:
        InputError: open_clip does not know it.
    """
    _require_known(architecture)
    logging.disable(logging.WARNING)  # of random weights: others are about to take their place
    try:
        return open_clip.create_model(architecture, pretrained=None, pretrained_text=False)
    finally:
        logging.disable(logging.NOTSET)


def _require_known(architecture: str) -> None:
    if architecture not in open_clip.list_models():
        raise InputError(f"--clip-architecture {architecture!r} is not one of open_clip's models")


def _open_clip(
    architecture: str, tag: str | None
) -> tuple[nn.Module, Callable[[list[str]], Tensor]]:
    """A network of open_clip and its tokenizer."""
    if tag is not None and tag not in open_clip.list_pretrained_tags_by_model(architecture):
        known = ", ".join(open_clip.list_pretrained_tags_by_model(architecture))
        raise InputError(
            f"--clip {tag}: neither a file nor pretrained weights of {architecture} ({known})"
        )
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    model = new_open_clip(architecture) if tag is None else _pretrained(architecture, tag)
    try:
        return model, open_clip.get_tokenizer(architecture)
    except Exception as error:  # hubs, caches and transformers each raise kinds of their own
        raise InputError(
            f"CLIP {architecture}: its tokenizer could not be fetched ({type(error).__name__}),"
            " which some come with only on the hub; fetch it where there is a network, and take"
            " the folder HF_HOME along"
        ) from error


def _pretrained(architecture: str, tag: str) -> nn.Module:
    try:
        return open_clip.create_model(
            architecture, pretrained=tag, pretrained_text=False, require_pretrained=True
        )
    except Exception as error:  # as above
        raise InputError(
            f"CLIP {architecture}: weights could not be fetched ({type(error).__name__}); give"
            " --clip FILE, or the embedded workflow/resources/scenes_clip.safetensors"
        ) from error


def new_small_clip(spec: SmallClipSpec) -> Clip:
    """A small CLIP, randomly initialised but for its trunk."""
    tokenize = WordTokenizer(spec.vocabulary, spec.context_length)
    size = (spec.image_size, spec.image_size)
    return Clip(build_small_clip(spec), tokenize, size, spec.mean, spec.std, spec)


def _load_small(path: Path | None, tensors: dict[str, Tensor], stored: dict[str, Any]) -> Clip:
    lists = ("vocabulary", "mean", "std")
    spec = SmallClipSpec(**stored | {name: tuple(stored[name]) for name in lists})
    clip = new_small_clip(spec)
    packaged = {n: t for n, t in clip.model.state_dict().items() if is_from_package(n)}
    fit_weights(clip.model, tensors | packaged, str(path), "of a small CLIP")
    return clip


def save_small_clip(path: Path | str, clip: Clip, provenance: dict[str, Any]) -> None:
    """Write a small CLIP, without the trunk, which comes from a package."""
    if clip.spec is None:
        raise TypeError("only a small CLIP, which has a specification, is written")
    state = clip.model.state_dict()
    trained = {name: tensor for name, tensor in state.items() if not is_from_package(name)}
    write_tensors(path, trained, {"clip": asdict(clip.spec), "provenance": provenance})


@dataclass(frozen=True)
class ClipOptions:
    """Which CLIP."""

    clip: str = option(help="weights: a file, or a tag of open_clip's")
    clip_architecture: str | None = option(None, "a model of open_clip [the file's]")
    clip_pixels: str = option(
        "clip",
        "by what images are normalised: CLIP's own mean and std, masked pixels black; or half, 0.5"
        " and 0.5, masked pixels grey, as in WWbL's code",
        choices=PIXELS,
        later=True,
    )
    resizing: str = option(
        "bicubic",
        "how images and maps change size: bicubic, or bilinear as in WWbL's code",
        choices=RESIZING,
        later=True,
    )

    @property
    def file(self) -> Path | None:
        """The file of weights, if any."""
        return weights_path(self.clip)

    def recorded(self) -> dict[str, Any]:
        """What the provenance says; a file is there by its digest."""
        return {**recorded(self), "clip": "file" if self.file else self.clip}

    def load(self) -> Clip:
        """CLIP in evaluation mode."""
        network = load_clip(self.clip, self.clip_architecture).take_pixels(self.clip_pixels)
        network.resizing = self.resizing
        return network
