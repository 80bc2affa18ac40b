"""bbr.backbones.hub: the cache comes first, then one short question."""

from __future__ import annotations

import pytest

from bbr.backbones import build, hub
from bbr.backbones.base import BackboneSpec
from bbr.errors import InputError

DINO = "vit_small_patch16_224.dino"


@pytest.fixture
def asked(monkeypatch):
    """Repositories that the hub was asked for; it is out of reach, and nothing is cached."""
    names = []

    def model_info(_, name, timeout):
        assert timeout <= 15  # longer is no short question
        names.append(name)
        raise OSError("no network")

    monkeypatch.setattr(hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    return names


def test_out_of_reach_is_told_without_a_download(asked, monkeypatch):
    monkeypatch.setattr(build.timm, "create_model", lambda *_, **__: pytest.fail("tried"))
    with pytest.raises(InputError, match=r"could not be fetched \(no network"):
        build.build_backbone(BackboneSpec(DINO), pretrained=True)
    assert asked == ["timm/" + DINO]


def test_cached_weights_need_no_network(asked, monkeypatch):
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda _, name: f"/cache/{name}")
    assert hub.reachable(DINO)
    assert asked == []


def test_the_hub_answers(monkeypatch, asked):
    monkeypatch.setattr(hub.HfApi, "model_info", lambda *_, **__: object())
    assert hub.reachable(DINO)


def test_what_is_no_repository(asked):
    assert not hub.repository_reachable("/no/such/folder")
