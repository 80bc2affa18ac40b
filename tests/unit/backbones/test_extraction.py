"""Features of images at native size: each as it would be by itself, in the order given."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_vit import TINY_VIT

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone
from bbr.backbones.extraction import features_of_pixels, features_of_states, skipped_before
from bbr.backbones.frozen_states import NativeState
from bbr.backbones.native_extraction import NativeImage
from bbr.data.index import Index
from bbr.errors import InputError


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return build_backbone(BackboneSpec("vit_tiny_patch16_224", TINY_VIT)).eval()


@pytest.fixture
def images():
    """Of two sizes in turns."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(32, 48), (48, 32), (32, 48)]
    return [
        NativeImage(i, size, torch.randn(1, 3, *size, generator=generator), f"{i}.png")
        for i, size in enumerate(sizes, 1)
    ]


def two_at_once(rows, columns):
    return 2


def test_each_as_by_itself(backbone, images):
    found = features_of_pixels(images, backbone, two_at_once, "fp32")
    assert [(f.image_id, f.size, f.grid) for f in found] == [
        (1, (32, 48), (2, 3)),
        (2, (48, 32), (3, 2)),
        (3, (32, 48), (2, 3)),
    ]
    for image, own in zip(images, found, strict=True):
        (alone,) = features_of_pixels([image], backbone, two_at_once, "fp32")
        assert own.key.shape == (6, TINY_VIT["embed_dim"])
        torch.testing.assert_close(own.key, alone.key)
        torch.testing.assert_close(own.attention, alone.attention)
        assert own.mask is None


def test_the_same_from_states(backbone, images):
    expected = features_of_pixels(images, backbone, two_at_once, "fp32")
    with torch.inference_mode():
        states = [
            NativeState(
                image.image_id,
                image.size,
                backbone.patch_grid(image.pixels),
                backbone.frozen_forward(image.pixels, 1)[0],
            )
            for image in images
        ]
    found = features_of_states(states, backbone, 1, two_at_once, "fp32")
    for own, wanted in zip(found, expected, strict=True):
        assert own[:3] == wanted[:3]
        torch.testing.assert_close(own.key, wanted.key)


def test_what_could_not_be_read_when_states_were_made():
    kept = SimpleNamespace(skipped=[{"image_id": i, "reason": "torn"} for i in (2, 5)])
    index = Index([], [], [], {}, Path("index.json"))
    of_shard = [{"id": 1}, {"id": 2}]
    assert skipped_before(kept, of_shard, index, 1) == [{"image_id": 2, "reason": "torn"}]
    with pytest.raises(InputError, match=r"index\.json: 1 images cannot be read"):
        skipped_before(kept, of_shard, index, 0)
