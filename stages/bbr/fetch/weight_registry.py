"""The registry of pretrained weights: where each comes from, and how it becomes a file of ours.

The table is `workflow/sources/weights.yaml`. A file that lies in the folder of downloads already,
or that the user names, always goes before a download.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_url
from torch import Tensor, nn
from torchvision import models

from ..backbones.base import BackboneSpec
from ..backbones.build import build_backbone, default_facet, load_backbone, save_backbone
from ..backbones.dinov2 import dinov2_file
from ..clip.network import new_open_clip
from ..detector.networks import save_detector
from ..errors import InputError
from ..grounding.network import published_grounder, save_grounder
from ..storage.atomic import atomic_path
from ..storage.digests import check_digest, file_digest, known_digest
from ..storage.safetensors_files import fit_weights, write_tensors
from .downloads import Unreachable, download, require_space
from .segmenter_layout import load_published_segmenter
from .sources import read_table
from .weight_layouts import plain_names, read_foreign, released_detector, resnet_names


@dataclass(frozen=True)
class WeightSource:
    """One place that a file can be had from; just one of `hub`, `url` and `page` is given.

    Attributes:
        file: name that it is stored under.
        hub: repository of the Hugging Face hub, where timm, open_clip and transformers keep theirs,
            and the file's path in it.
        url: of the file itself, such as torchvision's or DINO's.
        page: where a person finds it.
        sha256: where that is public knowledge.
    """

    file: str
    hub: Sequence[str] | None = None
    url: str | None = None
    page: str | None = None
    sha256: str | None = None

    @property
    def address(self) -> str | None:
        """Where it can be downloaded from without a person."""
        return hf_hub_url(*self.hub) if self.hub is not None else self.url


@dataclass(frozen=True)
class WeightEntry:
    """One row of the registry.

    Attributes:
        name: of the entry, and of its file of ours.
        kind: what is made of it, a key of `KINDS`.
        architecture: timm's, torchvision's or open_clip's name of the network.
        sources: tried in this order; of kind `folder`, all of them.
        needs: name of another entry that it is built on.
        layout: of h, see `weight_layouts.released_detector`.
        output: ending of the file of ours.
        megabytes: of the file to download.
        licence: to be told.
    """

    name: str
    kind: str
    sources: tuple[WeightSource, ...]
    architecture: str = ""
    needs: str | None = None
    layout: str = "qkv_image"
    output: str = ".safetensors"
    licence: str = "not stated"
    megabytes: float = 0


def read_registry(path: Path | str) -> dict[str, WeightEntry]:
    """The registry by name.

    Raises:
        InputError: the file is missing or malformed.
    """

    def build(name: str, row: dict[str, Any]) -> WeightEntry:
        sources = tuple(WeightSource(**source) for source in row.pop("sources"))
        entry = WeightEntry(name=name, sources=sources, **row)
        if entry.kind not in KINDS:
            raise TypeError(f"kind {entry.kind!r} is none of {', '.join(KINDS)}")
        return entry

    return read_table(path, build)


def obtain(entry: WeightEntry, folder: Path) -> tuple[Path, str]:
    """The published file of an entry, checked, and its SHA-256.

    Args:
        folder: of downloads; a file of one of the entry's sources that lies there is taken.

    Raises:
        InputError: none can be had; the message says what to do by hand.
    """
    if entry.kind == "package":
        path = dinov2_file()
        return path, file_digest(path, "sha256")
    if entry.kind == "folder":
        parts = [_obtain(entry, (source,), folder) for source in entry.sources]
        return parts[-1][0].parent, parts[-1][1]
    return _obtain(entry, entry.sources, folder)


def _obtain(
    entry: WeightEntry, sources: tuple[WeightSource, ...], folder: Path
) -> tuple[Path, str]:
    for source in sources:
        path = folder / source.file
        if path.is_file():
            return path, check_digest(path, known_digest(source.file, source.sha256))
    require_space(folder, entry.megabytes / 1e3)
    reasons = []
    for source in sources:
        path = folder / source.file
        if source.address is not None:
            try:
                digest = known_digest(source.file, source.sha256)
                return path, download(source.address, path, digest)
            except Unreachable as error:
                reasons.append(str(error))
    raise InputError(_by_hand(entry, sources[0], folder, reasons))


def _by_hand(entry: WeightEntry, first: WeightSource, folder: Path, reasons: list[str]) -> str:
    why = f"could not be fetched ({'; '.join(reasons)})" if reasons else "is for a person to fetch"
    return (
        f"{entry.name}: {why}; get it from {first.page or first.address} and put it at"
        f" {folder / first.file}, or name the file: --config 'local_weights={{{entry.name}: FILE}}'"
    )


def convert(
    entry: WeightEntry, path: Path, output: Path, provenance: dict[str, Any], needs: Path | None
) -> None:
    """Make the file of ours from a published one; it must fit its network key for key.

    Args:
        needs: the file of ours of the entry that this one is built on.

    Raises:
        InputError: it is another network's, damaged, or would run code of its own.
    """
    KINDS[entry.kind](entry, path, output, provenance, needs)


_Converter = Callable[[WeightEntry, Path, Path, dict[str, Any], Path | None], None]


def _backbone(
    entry: WeightEntry, path: Path, output: Path, provenance: dict[str, Any], _: Path | None
) -> None:
    """A vision transformer under timm's names, which are DINO's."""
    cfg: Any = timm.get_pretrained_cfg(entry.architecture)
    facet = default_facet(entry.architecture)
    spec = BackboneSpec(entry.architecture, mean=cfg.mean, std=cfg.std, facet=facet)
    backbone = build_backbone(spec)
    fit_weights(backbone.network, plain_names(read_foreign(path)), str(path), entry.architecture)
    save_backbone(output, backbone, provenance)


def _package(
    entry: WeightEntry, path: Path, output: Path, provenance: dict[str, Any], _: Path | None
) -> None:
    """A backbone that a package brings: the entry's name is its name in `--weights`, too."""
    if path != dinov2_file():
        raise InputError(f"{entry.name}: is read from its package; leave {path} out")
    save_backbone(output, load_backbone(entry.name), provenance)


def _trunk(
    entry: WeightEntry, path: Path, output: Path, provenance: dict[str, Any], _: Path | None
) -> None:
    """What h and CAD start from: torchvision's names; of a ResNet without the last layer."""
    network = models.get_model(entry.architecture, weights=None)
    tensors = read_foreign(path)
    if entry.architecture.startswith("resnet"):
        network.fc = nn.Identity()
        tensors = resnet_names(tensors)
    fit_weights(network, tensors, str(path), entry.architecture)
    write_tensors(output, network.state_dict(), {"provenance": provenance})


def _clip(
    entry: WeightEntry, path: Path, output: Path, provenance: dict[str, Any], _: Path | None
) -> None:
    network = new_open_clip(entry.architecture)
    tensors = _openai_tensors(entry, path) if path.suffix == ".pt" else read_foreign(path)
    fit_weights(network, tensors, str(path), entry.architecture)
    write_tensors(output, network.state_dict(), {"provenance": provenance})


def _openai_tensors(entry: WeightEntry, path: Path) -> dict[str, Tensor]:
    """Tensors of OpenAI's own file: a program of TorchScript, which its digest vouches for."""
    if file_digest(path, "sha256") not in [source.sha256 for source in entry.sources]:
        raise InputError(
            f"{path}: is not the file of OpenAI's whose SHA-256 is known, and could hold any"
            " program; give open_clip_model.safetensors of open_clip's instead"
        )
    state = torch.jit.load(path, map_location="cpu").state_dict()
    settings = ("input_resolution", "context_length", "vocab_size")
    return {name: t.float() for name, t in state.items() if name not in settings}


def _grounder(
    entry: WeightEntry, path: Path, output: Path, provenance: dict[str, Any], _: Path | None
) -> None:
    save_grounder(output, published_grounder(read_foreign(path), path), provenance)


def _detector(
    entry: WeightEntry, path: Path, output: Path, provenance: dict[str, Any], _: Path | None
) -> None:
    save_detector(output, released_detector(read_foreign(path), entry.layout, path), provenance)


def _segmenter(
    entry: WeightEntry, path: Path, output: Path, provenance: dict[str, Any], needs: Path | None
) -> None:
    if needs is None:
        raise InputError(f"{entry.name}: is built on {entry.needs}; give its file too")
    segmenter = load_published_segmenter(path, load_backbone(str(needs)))
    save_backbone(output, segmenter, provenance)


def _copy(
    entry: WeightEntry, path: Path, output: Path, provenance: dict[str, Any], _: Path | None
) -> None:
    """A file that a library reads as it is."""
    with atomic_path(output) as temporary:
        shutil.copyfile(path, temporary)


def _folder(
    entry: WeightEntry, path: Path, output: Path, provenance: dict[str, Any], _: Path | None
) -> None:
    """A folder that a library reads as it is, of the files that the registry lists."""
    scratch = output.with_name(f".{output.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for source in entry.sources:
        name = Path(source.file).name
        shutil.copyfile(path / name, scratch / name)
    shutil.rmtree(output, ignore_errors=True)
    scratch.replace(output)


KINDS: dict[str, _Converter] = {
    "backbone": _backbone,
    "package": _package,
    "trunk": _trunk,
    "clip": _clip,
    "grounder": _grounder,
    "detector": _detector,
    "segmenter": _segmenter,
    "copy": _copy,
    "folder": _folder,
}
