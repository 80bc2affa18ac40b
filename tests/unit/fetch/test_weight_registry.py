"""The registry of weights that ships: whole, and in agreement with the libraries."""

from pathlib import Path

import open_clip
import pytest
import timm
import torch
from torchvision import models

from bbr.backbones.build import load_backbone
from bbr.errors import InputError
from bbr.fetch.weight_registry import KINDS, convert, obtain, read_registry

ROOT = Path(__file__).parents[3]


def test_the_registry_that_ships():
    registry = read_registry(ROOT / "workflow" / "sources" / "weights.yaml")
    files = [source.file for entry in registry.values() for source in entry.sources]
    assert len(files) == len(set(files))
    for entry in registry.values():
        assert entry.kind in KINDS
        assert entry.needs is None or entry.needs in registry
        for source in entry.sources:
            places = (source.hub, source.url, source.page)
            assert sum(place is not None for place in places) == 1, entry.name
            assert source.sha256 is None or len(source.sha256) == 64
    clip = registry["clip_vitb32"].sources[0]
    assert clip.sha256 is not None
    assert clip.sha256 in str(clip.url)  # OpenAI's addresses carry the digest


def test_the_registry_agrees_with_the_libraries():
    registry = read_registry(ROOT / "workflow" / "sources" / "weights.yaml")
    for name in ("dino_vits16", "dino_vits8", "dino_vitb16"):
        cfg = timm.get_pretrained_cfg(registry[name].architecture)
        own, hub = registry[name].sources
        assert (own.url, (hub.hub or [None])[0]) == (cfg.url, cfg.hf_hub_id)
    (vgg,) = registry["vgg16_imagenet"].sources
    assert vgg.url == models.VGG16_Weights.IMAGENET1K_V1.url
    clip = open_clip.pretrained.get_pretrained_cfg("ViT-B-32-quickgelu", "openai")
    own, hub = registry["clip_vitb32"].sources
    assert (f"{(hub.hub or [None])[0]}/", own.url) == (clip["hf_hub"], clip["url"])
    assert (hub.hub or [None])[1] == "open_clip_model.safetensors"


def test_an_entry_of_a_package_becomes_a_file_of_ours(tmp_path):
    entry = read_registry(ROOT / "workflow" / "sources" / "weights.yaml")["dinov2_vits14"]
    path, sha256 = obtain(entry, tmp_path)
    assert sha256 == entry.sources[0].sha256
    convert(entry, path, tmp_path / "f.safetensors", {}, None)
    ours, packaged = load_backbone(str(tmp_path / "f.safetensors")), load_backbone(entry.name)
    assert ours.spec == packaged.spec
    expected = packaged.network.state_dict()
    assert all(torch.equal(t, expected[name]) for name, t in ours.network.state_dict().items())
    with pytest.raises(InputError, match=r"is read from its package; leave .*other out"):
        convert(entry, tmp_path / "other", tmp_path / "g.safetensors", {}, None)
