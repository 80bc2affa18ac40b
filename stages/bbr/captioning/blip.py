"""Captions of image regions by BLIP (Li et al. 2022): the published network, or a small one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from ..backbones.base import Backbone
from ..backbones.hub import repository_reachable
from ..errors import InputError
from ..options import option
from ..storage.safetensors_files import fit_weights, read_tensors, write_tensors
from .small_blip import SmallCaptionerSpec, build_small_captioner, word_tokenizer

_PUBLISHED_FILES = ("config.json", "preprocessor_config.json")
# The first that is there is read; the second by torch.load with weights_only.
_PUBLISHED_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class CaptionOptions:
    """How captions are searched for; the defaults are WWbL's."""

    beams: int = option(3, "of the search for a caption", min=1)
    min_length: int = option(5, "of a caption, its start included", unit="tokens", min=1)
    max_length: int = option(30, "of a caption, its start included", unit="tokens", min=1)
    caption_prompt: str = option(
        "",
        "what captions go on from, which counts as a part of their length and is then left out;"
        " in WWbL's code a picture of",
        later=True,
    )


class Captioner(nn.Module):
    """BLIP with what comes before and after it, in evaluation mode.

    Attributes:
        model: transformers' network.
        trunk: frozen, whose maps take the place of pixels; None where BLIP reads pixels.
        spec: of a small captioner of ours, else None.
    """

    def __init__(
        self,
        model: BlipForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Any,
        trunk: Backbone | None = None,
        spec: SmallCaptionerSpec | None = None,
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.tokenizer, self.image_processor = tokenizer, image_processor
        self.trunk, self.spec = trunk, spec

    @torch.no_grad()
    def observe(self, crops: Sequence[np.ndarray]) -> Tensor:
        """What BLIP reads of crops (H, W, 3) uint8 of any sizes: (B, C, S, S)."""
        pixels = self.image_processor(images=list(crops), return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self.model.device)
        return pixels if self.trunk is None else self.trunk.frozen_forward(pixels, 0)

    @torch.no_grad()
    def generate(self, observed: Tensor, options: CaptionOptions) -> list[str]:
        """A caption of each of B observed crops, by beam search.

        Raises:
            InputError: the network has no room for captions that long.
        """
        room = self.model.config.text_config.max_position_embeddings
        if options.max_length > room:
            raise InputError(
                f"--max-length {options.max_length}: this captioner says {room} tokens at most"
            )
        begun = self._begun(options.caption_prompt, len(observed))
        tokens = self.model.generate(
            observed,
            **begun,
            num_beams=options.beams,
            min_length=options.min_length,
            max_length=options.max_length,
            do_sample=False,
        )
        texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        captions = [" ".join(text.split()) for text in texts]
        said = " ".join(options.caption_prompt.split())
        return [caption.removeprefix(said).strip() for caption in captions]

    def _begun(self, prompt: str, count: int) -> dict[str, Tensor]:
        """The prompt as tokens, for each crop; the model itself puts its start in their first
        place, and goes on before their last."""
        if not prompt:
            return {}
        tokens = self.tokenizer([prompt.strip()] * count, return_tensors="pt")
        return {
            "input_ids": tokens["input_ids"].to(self.model.device),
            "attention_mask": tokens["attention_mask"].to(self.model.device),
        }


def load_captioner(source: str) -> Captioner:
    """A captioner with its weights.

    Args:
        source: a file of ours; or published weights that transformers reads: a folder with
            config.json, the weights (model.safetensors or pytorch_model.bin) and the processor's
            files, or a name on its hub.

    Raises:
        InputError: neither, damaged, or not to be fetched.
    """
    path = captioner_file(source)
    return _load_small(path) if path is not None else _load_published(source)


def captioner_file(source: str) -> Path | None:
    """The file of ours in --captioner, or None where transformers is to read it."""
    path = Path(os.path.expanduser(source))
    return path if path.suffix == ".safetensors" else None


def weights_of(source: str) -> Path | None:
    """The file whose digest provenance keeps, or None for a name on the hub."""
    return captioner_file(source) or _weights_inside(Path(os.path.expanduser(source)))


def _weights_inside(folder: Path) -> Path | None:
    files = (folder / name for name in _PUBLISHED_WEIGHTS)
    return next((file for file in files if file.is_file()), None)


def new_small_captioner(spec: SmallCaptionerSpec) -> Captioner:
    """A small captioner, randomly initialised but for its trunk."""
    model, trunk = build_small_captioner(spec)
    side = {"height": spec.image_size, "width": spec.image_size}
    half = [0.5, 0.5, 0.5]
    processor = BlipImageProcessorPil(size=side, image_mean=half, image_std=half)
    return Captioner(model, word_tokenizer(spec), processor, trunk, spec)


def _load_small(path: Path) -> Captioner:
    tensors, metadata = read_tensors(path)
    if "captioner" not in metadata:
        raise InputError(
            f"{path}: holds no captioner; give a file made by train_captioner.py, or the folder of"
            " a published BLIP"
        )
    stored = metadata["captioner"]
    captioner = new_small_captioner(
        SmallCaptionerSpec(**stored | {"vocabulary": tuple(stored["vocabulary"])})
    )
    fit_weights(captioner.model, tensors, str(path), "of a small captioner")
    return captioner


def save_small_captioner(
    path: Path | str, captioner: Captioner, provenance: dict[str, Any]
) -> None:
    """Write a small captioner, without the trunk, which comes from a package."""
    # Some of BLIP's tensors are one tensor under two names, which safetensors does not take.
    if captioner.spec is None:
        raise TypeError("only a small captioner, which has a specification, is written")
    tensors = {name: tensor.clone() for name, tensor in captioner.model.state_dict().items()}
    write_tensors(path, tensors, {"captioner": asdict(captioner.spec), "provenance": provenance})


def _load_published(source: str) -> Captioner:
    # It would tell of every published tensor that captions do without.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = os.path.expanduser(source)
    if not (_is_complete(Path(folder)) if os.path.isdir(folder) else repository_reachable(source)):
        raise _unusable(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        # Pillow's resizing, as the weights were made with; torchvision's differs a little.
        image_processor = BlipImageProcessorPil.from_pretrained(folder)
        # A pair, with output_loading_info, which the annotation does not say.
        both: Any = BlipForConditionalGeneration.from_pretrained(
            folder, weights_only=True, output_loading_info=True
        )
        model, loading = both
    except Exception as error:  # hubs, caches and parsers each raise kinds of their own
        raise _unusable(source, error) from error
    missing = sorted(loading["missing_keys"])
    if missing:
        raise InputError(
            f"--captioner {source}: {len(missing)} of BLIP's tensors are missing (first:"
            f" {missing[0]}); give weights for captioning"
        )
    return Captioner(model, tokenizer, image_processor)


def _is_complete(folder: Path) -> bool:
    there = all((folder / name).is_file() for name in _PUBLISHED_FILES)
    return there and _weights_inside(folder) is not None


def _unusable(source: str, error: Exception | None = None) -> InputError:
    why = f" ({type(error).__name__})" if error else ""
    return InputError(
        f"--captioner {source}: not a folder of BLIP's files, and could not be fetched{why}; give"
        f" one with {', '.join(_PUBLISHED_FILES)} and the tokenizer's files, or the embedded"
        " workflow/resources/scenes_captioner.safetensors"
    )
