"""ImageNet classifiers, and which of their classes a phrase names (row TD of Table 1).

No classifier knows phrases: what one is asked for is a class whose name ends in a word of the
phrase, as "coffee mug" does in "mug"; among several, the one that it finds likeliest in the image,
and where there is none, the likeliest of all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import timm
import torch
from timm.data import ImageNetInfo
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from ..backbones.build import EFFICIENTNET, efficientnet_lite0_tensors
from ..errors import InputError
from ..storage.foreign_checkpoints import read_checkpoint
from ..storage.safetensors_files import fit_weights

CLASSES = 1000
LITE0 = "efficientnet_lite0"
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class Classifier:
    """A network of the 1,000 classes of ImageNet.

    Attributes:
        network: (B, 3, H, W) normalised to logits (B, 1000).
        mean, std: of normalisation.
    """

    network: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def prepare(self, images: Tensor, size: int) -> Tensor:
        """(B, 3, H, W) in [0, 1] to what the network reads, size × size."""
        if images.shape[-2:] != (size, size):
            images = functional.interpolate(images, (size, size), mode="bicubic", antialias=True)
        mean, std = (images.new_tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return (images - mean) / std


def load_classifier(name: str, weights: str | None = None) -> Classifier:
    """A classifier in evaluation mode.

    Args:
        name: `efficientnet_lite0`, of a package, or one of torchvision's.
        weights: a file of that network; None for those of ImageNet, which torchvision downloads.

    Raises:
        InputError: no such network, or its weights cannot be fetched or do not fit.
    """
    if name == LITE0:
        if weights is not None:
            raise InputError(f"--classifier-weights: those of {name} come from a package")
        network = timm.create_model(EFFICIENTNET)
        network.load_state_dict(efficientnet_lite0_tensors())
        return Classifier(network.eval(), *_HALF)
    if name not in models.list_models(module=models):
        raise InputError(
            f"--classifier {name!r}: neither {LITE0} nor one of torchvision's classifiers"
        )
    tensors = _download(name) if weights is None else read_checkpoint(weights)[0]
    network = models.get_model(name, weights=None, num_classes=CLASSES)
    fit_weights(network, tensors, weights or name, name)
    return Classifier(network.eval(), *_IMAGENET)


def _download(name: str) -> dict[str, Tensor]:
    try:
        return models.get_model_weights(name).DEFAULT.get_state_dict(progress=False)
    except OSError as error:
        raise InputError(
            f"the weights of {name} could not be fetched ({type(error).__name__}); give"
            f" --classifier-weights FILE, or --classifier {LITE0}"
        ) from error


def class_names() -> list[str]:
    """The names of ImageNet's classes, several of one class parted by commas."""
    info = ImageNetInfo()
    return [info.index_to_description(i) for i in range(info.num_classes())]


def last_words(names: Iterable[str]) -> dict[str, list[int]]:
    """The classes that have a name that ends in a word, by that word in lower case."""
    found: dict[str, list[int]] = {}
    for number, several in enumerate(names):
        words = dict.fromkeys(name.lower().split()[-1] for name in several.split(", "))
        for word in words:
            found.setdefault(word, []).append(number)
    return found


def named_classes(phrase: str, by_word: Mapping[str, Sequence[int]]) -> list[int]:
    """The classes that a word of the phrase names, or its singular in -s; in order, once each."""
    found: dict[int, None] = {}
    for word in re.findall(r"[a-z]+", phrase.lower()):
        for form in (word, word.removesuffix("s")):
            found |= dict.fromkeys(by_word.get(form, ()))
    return sorted(found)


def asked_class(logits: Tensor, named: Sequence[int]) -> int:
    """The likeliest of the classes named, or of all where none is: logits are (1000,)."""
    if not named:
        return int(logits.argmax())
    return named[int(logits[torch.tensor(named, device=logits.device)].argmax())]
