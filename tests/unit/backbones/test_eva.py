"""DINOv3-like backbones against timm's own model, and the ViTs that need lines of config only.

Both sides run the same float32 layers in the same order; tolerances are a few units in the last
place of values around 1.
"""

import pytest
import timm
import torch

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone, load_backbone
from bbr.errors import InputError

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
DINOV3 = "vit_small_patch16_dinov3.lvd1689m"
SMALL = {"embed_dim": 64, "depth": 3, "num_heads": 2}
BIASES = {"qkv_bias": True}


def rotary(**changes):
    """A small DINOv3 in evaluation mode whose layers all matter."""
    torch.manual_seed(0)
    facet = changes.pop("facet", "key")
    backbone = build_backbone(BackboneSpec(DINOV3, SMALL | changes, facet=facet)).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return backbone


def pixels(height=64, width=96, count=2):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("changes", [{}, BIASES], ids=["as published", "with biases"])
@torch.no_grad()
def test_keys_tokens_and_attention_equal_timm_s(changes):
    backbone = rotary(**changes)
    model = timm.create_model(DINOV3, num_classes=0, **SMALL, **changes).eval()
    model.load_state_dict(backbone.network.state_dict())
    attention = model.blocks[-1].attn
    attention.fused_attn = False
    seen = {}
    attention.k_norm.register_forward_hook(lambda *call: seen.update(key=call[2]))
    attention.attn_drop.register_forward_hook(lambda *call: seen.update(attention=call[2]))
    tokens = model.forward_features(pixels())
    maps = backbone(pixels())
    assert maps.grid == (4, 6)
    first = model.num_prefix_tokens
    torch.testing.assert_close(maps.tokens[:, 0], tokens[:, 0], **CLOSE)
    torch.testing.assert_close(maps.tokens[:, 1:], tokens[:, first:], **CLOSE)
    key = seen["key"].transpose(1, 2).flatten(2)
    torch.testing.assert_close(maps.key, key[:, first:], **CLOSE)
    torch.testing.assert_close(maps.cls_attention, seen["attention"][:, :, 0, first:], **CLOSE)


@torch.no_grad()
def test_keys_without_bias_are_those_of_a_network_without_it():
    read, plain = rotary(**BIASES, facet="key_without_bias"), rotary(**BIASES)
    for backbone in (read, plain):
        backbone.network.blocks[-1].attn.k_bias.fill_(0.5)  # timm's is zero, and not trained
    torch.testing.assert_close(read(pixels()).key, plain(pixels()).key - 0.5, **CLOSE)
    # The network itself keeps it: behind rotary positions softmax does see it.
    assert torch.equal(read(pixels()).tokens, plain(pixels()).tokens)
    assert torch.equal(read(pixels()).cls_attention, plain(pixels()).cls_attention)


@torch.no_grad()
def test_where_keys_have_no_bias_there_is_none_to_leave_out():
    plain, without = rotary()(pixels()).key, rotary(facet="key_without_bias")(pixels()).key
    torch.testing.assert_close(without, plain, **CLOSE)


@pytest.mark.parametrize("last", [1, 2, 3])
@torch.no_grad()
def test_leaving_after_entering_is_the_whole(last):
    backbone = rotary()
    whole = backbone(pixels())
    halves = backbone.trainable_forward(backbone.frozen_forward(pixels(), last), last, (4, 6))
    torch.testing.assert_close(halves.key, whole.key, rtol=0, atol=0)
    torch.testing.assert_close(halves.tokens, whole.tokens, rtol=0, atol=0)


def test_mixed_rotary_positions_are_refused():
    with pytest.raises(InputError, match="choose DINOv3 or a plain vision transformer"):
        build_backbone(BackboneSpec("vit_small_patch16_rope_mixed_224", {"depth": 1}))


@pytest.mark.parametrize(
    ("architecture", "grid"),
    [
        ("vit_small_patch16_224.dino", (3, 5)),
        ("vit_small_patch14_reg4_dinov2.lvd142m", (4, 5)),
        (DINOV3, (3, 5)),
        ("vit_base_patch16_224.mae", (3, 5)),
    ],
)
@torch.inference_mode()
def test_well_known_vits_need_their_name_only(architecture, grid):
    backbone = load_backbone("random", architecture, {"depth": 1})
    images = torch.zeros(1, 3, 48, 70, dtype=torch.uint8)
    maps = backbone(backbone.prepare(images))
    assert maps.grid == backbone.grid_of(48, 70) == grid
    assert maps.key.shape == (1, grid[0] * grid[1], backbone.dim)
    assert maps.cls_attention.shape == (1, backbone.heads, grid[0] * grid[1])
