"""Other people's weights in the layouts that they are published in, renamed to ours.

A layout is known by its tensors' names. What comes out must then fit a network key for key
(`safetensors_files.fit_weights`), so that a wrong guess is refused and never half loaded.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from ..detector.networks import Detector, DetectorSpec, build_detector
from ..errors import InputError
from ..storage.foreign_checkpoints import read_checkpoint, without_prefix
from ..storage.safe_module_pickle import read_pickled_module
from ..storage.safe_pickle import read_plain_pickle
from ..storage.safetensors_files import fit_weights

# Wrappers of DINO's training, of DataParallel and of others.
_WRAPPERS = ("module.", "backbone.", "encoder.")
_HEADS = ("head.", "fc.", "classifier.")
_STAGES = {f"res{i + 1}": f"layer{i}" for i in range(1, 5)}
_DETECTRON_NAMES = (
    (r"^stem\.conv1\.norm\.", "bn1."),
    (r"^stem\.", ""),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
)
_RELEASED_H = "model."  # as the paper's release calls the network inside h


def read_foreign(path: Path | str) -> dict[str, Tensor]:
    """All tensors of a published file: safetensors, a state dict, a checkpoint of training, a
    module that was saved whole, or Detectron2's pickle of arrays. No code of the file's runs.

    Raises:
        InputError: it is none of these, or damaged.
    """
    path = Path(path)
    if path.suffix == ".pkl":
        return _detectron_arrays(path)
    try:
        return read_checkpoint(path)[0]
    except InputError as error:
        if "pickled objects" not in str(error):
            raise
    return without_prefix(read_pickled_module(path))


def _detectron_arrays(path: Path) -> dict[str, Tensor]:
    content = read_plain_pickle(path)
    arrays = content.get("model") if isinstance(content, dict) else None
    if not isinstance(arrays, dict) or not arrays:
        raise InputError(f"{path}: not Detectron2's pickle, an object with arrays under `model`")
    try:
        return {str(name): torch.from_numpy(array) for name, array in arrays.items()}
    except TypeError as error:
        raise InputError(f"{path}: `model` does not hold arrays alone ({error})") from error


def plain_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a network alone: wrappers' prefixes off, heads and their like left out."""
    for wrapper in _WRAPPERS:
        inside = {n: t for n, t in tensors.items() if n.startswith(wrapper)}
        # What lies beside the wrapped network is a head of its training.
        if inside and all(n.startswith((wrapper, *_HEADS)) for n in tensors):
            return plain_names({n.removeprefix(wrapper): t for n, t in inside.items()})
    return {n: t for n, t in tensors.items() if not n.startswith(_HEADS)}


def resnet_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a ResNet without its last layer under torchvision's names.

    Args:
        tensors: torchvision's, DINO's or Detectron2's.
    """
    tensors = plain_names(tensors)
    if any(name.startswith("stem.") for name in tensors):
        tensors = {_from_detectron(name): t for name, t in tensors.items()}
    # Batch norm's counters, which older files and Detectron2's lack and nothing reads.
    norms = [name.removesuffix("running_var") for name in tensors if name.endswith("running_var")]
    counters = {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}
    return counters | tensors


def _from_detectron(name: str) -> str:
    """`res2.0.conv1.norm.weight` to `layer1.0.bn1.weight`."""
    for pattern, plain in _DETECTRON_NAMES:
        name = re.sub(pattern, plain, name)
    stage, dot, rest = name.partition(".")
    return f"{_STAGES.get(stage, stage)}{dot}{rest}"


def released_detector(tensors: dict[str, Tensor], layout: str, path: Path | str) -> Detector:
    """h of the paper's release from its tensors: a ResNet-50 or VGG16, its last layer of 6k rows.

    Args:
        layout: of `detectors.LAYOUTS`: `qkv_image` for LOST and TokenCut, `mask_image` for MOVE,
            `spatial` for heatmaps.

    Raises:
        InputError: the tensors are not of such an h.
    """
    inside = {n.removeprefix(_RELEASED_H): t for n, t in tensors.items()}
    last = next((inside[n] for n in ("fc.bias", "classifier.6.bias") if n in inside), None)
    if last is None or len(last) % 6:
        raise InputError(f"{path}: holds no h, whose last layer gives 6 numbers for each box")
    network = "resnet50" if "fc.bias" in inside else "vgg16"
    channels = 1 if layout == "spatial" else 3
    spec = DetectorSpec(network, layout, channels, num_boxes=len(last) // 6)
    detector = build_detector(spec)
    named = {f"network.{name}": tensor for name, tensor in inside.items()}
    fit_weights(detector, named, str(path), f"{network} (h)")
    return detector.eval()
