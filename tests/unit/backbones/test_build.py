"""f against timm's own models: keys, attention and tokens of transformers, maps of convolutions.

Both sides run the same float32 layers in the same order, but for a fused against a literal
softmax: tolerances are a few units in the last place of values around 1.
"""

import math

import pytest
import timm
import torch
from tiny_vit import TINY_VIT

from bbr.backbones import build
from bbr.backbones.base import FACETS, BackboneSpec
from bbr.backbones.build import build_backbone, default_facet, load_backbone
from bbr.backbones.vit import interpolate_positions
from bbr.detector.layout import arrange, parts_shape, stack_parts
from bbr.errors import InputError

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
TINY = TINY_VIT | {"depth": 3}
VARIANTS = {
    "plain": {},
    "registers": {"reg_tokens": 3},
    "registers without positions": {"reg_tokens": 3, "no_embed_class": True},
    "normalised queries and keys": {"qk_norm": True},
}
# A chain that timm cut for us, one that runs on behind the map, and none at all.
CONVOLUTIONAL = {
    "resnet18": {},
    "convnext_atto": {},
    "tf_efficientnet_lite0": {},
    "mobilenetv3_small_050": {},
    "hrnet_w18_small": {},
}


def vit(**changes):
    """A tiny transformer in evaluation mode whose layers all matter, positions included."""
    torch.manual_seed(0)
    names = ("normalization", "facet", "block")
    spec = {name: changes.pop(name) for name in names if name in changes}
    backbone = build_backbone(BackboneSpec("vit_tiny_patch16_224", TINY | changes, **spec)).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return backbone


def timm_vit(backbone, **changes):
    """timm's own model with the same weights, made independently of ours."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **(TINY | changes)).eval()
    model.load_state_dict(backbone.network.state_dict())
    return model


def pixels(height=64, width=64, count=2):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def variant(request):
    return request.param


class TestTransformer:
    @torch.no_grad()
    def test_keys_are_those_of_the_last_attention_heads_concatenated(self, variant):
        backbone = vit(**variant)
        model, seen = timm_vit(backbone, **variant), {}
        attention = model.blocks[-1].attn
        attention.qkv.register_forward_hook(lambda _, __, out: seen.update(qkv=out))
        attention.k_norm.register_forward_hook(lambda _, __, out: seen.update(key=out))
        model(pixels())
        maps = backbone(pixels())
        prefix = model.num_prefix_tokens
        query, key, value = seen["qkv"][:, prefix:].split(32, dim=-1)  # heads side by side
        if "qk_norm" in variant:
            # (B, heads, tokens, 16) to heads side by side.
            key = torch.cat(seen["key"][:, :, prefix:].unbind(1), dim=-1)
        else:
            torch.testing.assert_close(maps.query, query, **CLOSE)
        torch.testing.assert_close(maps.key, key, **CLOSE)
        torch.testing.assert_close(maps.value, value, **CLOSE)
        assert (maps.grid, maps.key.shape) == ((4, 4), (2, 16, 32))

    @torch.no_grad()
    def test_what_h_reads_with_cls_is_all_that_the_last_attention_made(self):
        """As the released code has it for TokenCut: 3 planes of 1 + N rows, [CLS] first."""
        backbone = vit()
        model, seen = timm_vit(backbone), {}
        model.blocks[-1].attn.qkv.register_forward_hook(lambda _, __, out: seen.update(qkv=out))
        model(pixels())
        expected = torch.stack(seen["qkv"].split(32, dim=-1), dim=1)
        found = stack_parts(backbone(pixels()), "qkv_cls")
        torch.testing.assert_close(found, expected, **CLOSE)
        assert found.shape[1:] == parts_shape(backbone, 64, "qkv_cls")[1] == (3, 17, 32)
        assert arrange(found, (4, 4), "qkv_image") is found
        with pytest.raises(InputError, match="no place among the patches"):
            arrange(found, (4, 4), "spatial")

    @torch.no_grad()
    def test_tokens_are_timm_s(self, variant):
        backbone = vit(**variant)
        model = timm_vit(backbone, **variant)
        expected = model.forward_features(pixels())
        tokens = backbone(pixels()).tokens
        torch.testing.assert_close(tokens[:, 0], expected[:, 0], **CLOSE)
        torch.testing.assert_close(tokens[:, 1:], expected[:, model.num_prefix_tokens :], **CLOSE)

    @torch.no_grad()
    def test_cls_attention_is_the_softmax_over_all_tokens(self):
        backbone = vit()
        model, seen = timm_vit(backbone), {}
        model.blocks[-1].attn.qkv.register_forward_hook(lambda _, __, out: seen.update(qkv=out))
        model(pixels())
        attention = backbone(pixels()).cls_attention
        assert attention.shape == (2, 2, 16)
        for image in range(2):
            for head in range(2):
                query, key, _ = (
                    part[:, 16 * head : 16 * head + 16] for part in seen["qkv"][image].split(32, -1)
                )
                scores = [math.exp(float(query[0] @ k) / math.sqrt(16)) for k in key]
                row = torch.tensor(scores) / sum(scores)
                torch.testing.assert_close(attention[image, head], row[1:], **CLOSE)
                # With what [CLS] gives to itself, a row sums to 1.
                total = attention[image, head].sum() + row[0]
                torch.testing.assert_close(total, torch.tensor(1.0), **CLOSE)

    @torch.no_grad()
    @pytest.mark.parametrize("size", [(16, 16), (64, 96), (160, 48)])
    def test_any_size_divisible_by_the_patch(self, size):
        maps = vit()(pixels(*size))
        assert maps.grid == (size[0] // 16, size[1] // 16)
        assert maps.key.shape[1] == maps.grid[0] * maps.grid[1]
        assert maps.tokens.shape[1] == 1 + maps.key.shape[1]

    @torch.no_grad()
    def test_tokens_at_another_size_are_timm_s_with_those_positions(self):
        backbone = vit()
        model = timm.create_model(
            "vit_tiny_patch16_224", num_classes=0, **(TINY | {"img_size": (96, 32)})
        ).eval()
        weights = backbone.network.state_dict()
        old = weights["pos_embed"]
        new = interpolate_positions(old[:, 1:], (4, 4), (6, 2))
        model.load_state_dict(weights | {"pos_embed": torch.cat((old[:, :1], new), dim=1)})
        expected = model.forward_features(pixels(96, 32))
        torch.testing.assert_close(backbone(pixels(96, 32)).tokens, expected, **CLOSE)

    @torch.no_grad()
    def test_leave_after_enter_is_forward(self, variant):
        backbone = vit(**variant)
        images = pixels(64, 32)
        whole = backbone(images)
        assert backbone.depth == 3
        for last in range(1, 4):
            maps = backbone.trainable_forward(backbone.frozen_forward(images, last), last, (4, 2))
            for name in ("key", "query", "value", "cls_attention", "tokens"):
                assert torch.equal(getattr(maps, name), getattr(whole, name))

    @torch.no_grad()
    @pytest.mark.parametrize("facet", ["key", "key_without_bias", "value", "token"])
    def test_nothing_runs_that_is_not_read(self, facet, variant):
        backbone = vit(**variant, facet=facet)
        whole = backbone(pixels())
        ran = []
        for number, block in enumerate(backbone.network.blocks):
            block.register_forward_hook(lambda *_, number=number: ran.append(number))
        for extras in ((), ("cls_attention",), ("query", "value", "cls_parts"), ("tokens",)):
            ran.clear()
            maps = backbone(pixels(), extras)
            for name in ("key", *extras):
                assert torch.equal(getattr(maps, name), getattr(whole, name))
            last = "tokens" in extras or facet == "token"
            assert ran == ([0, 1, 2] if last else [0, 1])
            assert (maps.tokens is None) == ("tokens" not in extras)
            assert (maps.query is None) == (not set(extras) - {"tokens"})

    def test_trainable_is_what_leave_runs(self):
        backbone = vit()
        backbone.requires_grad_(False)
        backbone.trainable(2).requires_grad_(True)
        state = backbone.frozen_forward(pixels(), 2)
        assert not state.requires_grad
        maps = backbone.trainable_forward(state, 2, (4, 4))
        (maps.tokens.sum() + maps.key.sum()).backward()
        moving = {
            n.split(".")[1]
            for n, p in backbone.network.named_parameters()
            if p.grad is not None and n.startswith("blocks")
        }
        assert moving == {"1", "2"}
        assert backbone.network.norm.weight.grad is not None


def literal_facet(model, images, facet, block):
    """Patches of one facet of timm's model, from what passes through its modules."""
    seen = {}
    chosen = model.blocks[block]
    chosen.norm1.register_forward_hook(lambda _, __, out: seen.update(input=out))
    chosen.register_forward_hook(lambda _, __, out: seen.update(output=out))
    model(images)
    weight, bias = chosen.attn.qkv.weight, chosen.attn.qkv.bias
    rows = {"query": slice(0, 32), "key": slice(32, 64), "value": slice(64, 96)}
    if facet == "token":
        found = model.norm(seen["output"])
    elif facet == "key_without_bias":
        found = seen["input"] @ weight[rows["key"]].T
    else:
        found = seen["input"] @ weight[rows[facet]].T + bias[rows[facet]]
    return found[:, model.num_prefix_tokens :]


class TestFacets:
    @torch.no_grad()
    @pytest.mark.parametrize("block", [-1, -2, 0])
    @pytest.mark.parametrize("facet", FACETS)
    @pytest.mark.parametrize("registers", [{}, {"reg_tokens": 3}], ids=["plain", "registers"])
    def test_equals_the_literal_one(self, facet, block, registers):
        backbone = vit(facet=facet, block=block, **registers)
        expected = literal_facet(timm_vit(backbone, **registers), pixels(), facet, block)
        torch.testing.assert_close(backbone(pixels()).key, expected, **CLOSE)

    @torch.no_grad()
    @pytest.mark.parametrize("facet", FACETS)
    def test_only_what_heuristics_read_changes(self, facet):
        plain, read = vit()(pixels()), vit(facet=facet)(pixels())
        for name in ("query", "value", "cls_attention", "tokens"):
            assert torch.equal(getattr(plain, name), getattr(read, name))
        assert torch.equal(plain.key, read.key) == (facet == "key")

    @torch.no_grad()
    def test_a_key_bias_of_zero_leaves_the_network_as_it_is(self):
        """Softmax takes no notice of what it adds to each query's scores: rounding alone."""
        with_bias, without = vit(facet="key_without_bias"), vit()
        for block in without.network.blocks:
            block.attn.qkv.bias[32:64] = 0
        one, other = with_bias(pixels()), without(pixels())
        torch.testing.assert_close(one.tokens, other.tokens, **CLOSE)
        torch.testing.assert_close(one.cls_attention, other.cls_attention, **CLOSE)
        torch.testing.assert_close(one.key, other.key, **CLOSE)
        assert not torch.allclose(vit()(pixels()).key, other.key, atol=0.05)

    @torch.no_grad()
    def test_normalised_keys_lose_their_bias_before_they_are_normalised(self):
        backbone, without = vit(qk_norm=True, facet="key_without_bias"), vit(qk_norm=True)
        without.network.blocks[-1].attn.qkv.bias[32:64] = 0
        torch.testing.assert_close(backbone(pixels()).key, without(pixels()).key, **CLOSE)

    @torch.no_grad()
    def test_attention_is_that_of_the_block(self):
        backbone = vit(block=-2)
        shallow = vit(depth=2)
        weights = backbone.network.state_dict()
        shallow.network.load_state_dict({k: weights[k] for k in shallow.network.state_dict()})
        assert torch.equal(backbone(pixels()).cls_attention, shallow(pixels()).cls_attention)
        assert torch.equal(backbone(pixels()).query, shallow(pixels()).query)

    @torch.no_grad()
    @pytest.mark.parametrize("block", [-1, -2, 0])
    @pytest.mark.parametrize("facet", ["key_without_bias", "token"])
    def test_leave_after_enter_is_forward_wherever_the_block_lies(self, facet, block):
        backbone = vit(facet=facet, block=block)
        whole = backbone(pixels())
        for last in range(1, 4):
            maps = backbone.trainable_forward(backbone.frozen_forward(pixels(), last), last, (4, 4))
            for name in ("key", "query", "value", "cls_attention", "tokens"):
                assert torch.equal(getattr(maps, name), getattr(whole, name))

    @torch.no_grad()
    def test_normalization_comes_after_the_facet(self):
        plain = vit(facet="value")(pixels()).key
        centered = vit(facet="value", normalization="center")(pixels()).key
        assert torch.equal(centered, plain - plain.mean(dim=1, keepdim=True))

    @pytest.mark.parametrize(
        ("name", "facet"),
        [
            ("vit_small_patch16_224.dino", "key"),
            ("vit_small_patch8_224.dino", "key"),
            ("vit_small_patch14_dinov2", "key_without_bias"),
            ("vit_tiny_patch16_224", "key_without_bias"),
            ("deit_tiny_patch16_224", "key_without_bias"),
            ("resnet18", "key"),
        ],
    )
    def test_default_by_architecture(self, name, facet):
        assert default_facet(name) == facet

    def test_asked_for_goes_before_the_default(self):
        assert load_backbone("random", "vit_tiny_patch16_224", TINY).spec.facet == (
            "key_without_bias"
        )
        spec = load_backbone("random", "vit_tiny_patch16_224", TINY, facet="value", block=1).spec
        assert (spec.facet, spec.block) == ("value", 1)

    @pytest.mark.parametrize(
        ("name", "spec", "message"),
        [
            ("vit_tiny_patch16_224", {"facet": "keys"}, "facet 'keys' is unknown"),
            ("vit_tiny_patch16_224", {"block": 3}, "block 3 does not exist: .* has 3 blocks"),
            ("vit_tiny_patch16_224", {"block": -4}, "block -4 does not exist"),
            ("resnet18", {"facet": "value"}, "facet value, block -1: resnet18 is convolutional"),
            ("resnet18", {"block": 0}, "facet key, block 0: resnet18 is convolutional"),
        ],
    )
    def test_what_does_not_exist_is_refused_in_one_line(self, name, spec, message):
        arguments = TINY if name.startswith("vit") else {}
        with pytest.raises(InputError, match=message):
            build_backbone(BackboneSpec(name, arguments, **spec))


class TestConvolutional:
    @torch.no_grad()
    @pytest.mark.parametrize("name", CONVOLUTIONAL)
    def test_key_is_timm_s_map_and_leave_after_enter_is_forward(self, name):
        torch.manual_seed(0)
        backbone = build_backbone(BackboneSpec(name)).eval()
        model = timm.create_model(name, features_only=True, out_indices=[3]).eval()
        model.load_state_dict(backbone.network.state_dict())
        images = pixels(64, 96)
        plane = model(images)[-1]
        whole = backbone(images)
        assert whole.grid == plane.shape[2:]
        # Another memory layout takes other kernels: float32 rounding over a few dozen layers.
        close = {"rtol": 1e-3, "atol": 1e-4 * float(plane.abs().max())}
        for row, column in ((0, 0), (1, 2), (-1, -1)):
            patch = whole.key.unflatten(1, whole.grid)[:, row, column]
            torch.testing.assert_close(patch, plane[:, :, row, column], **close)
        torch.testing.assert_close(whole.tokens[:, 0], plane.mean(dim=(2, 3)), **close)
        assert whole.query is None
        assert whole.cls_attention is None
        for last in range(backbone.depth + 1):
            state = backbone.frozen_forward(images, last)
            assert torch.equal(backbone.trainable_forward(state, last, whole.grid).key, whole.key)

    def test_trainable_is_what_leave_runs(self):
        backbone = build_backbone(BackboneSpec("resnet18")).requires_grad_(False)
        backbone.trainable(2).requires_grad_(True)
        state = backbone.frozen_forward(pixels(), 2)
        backbone.trainable_forward(state, 2, (4, 4)).key.sum().backward()
        moving = {n for n, p in backbone.network.named_parameters() if p.grad is not None}
        assert moving == {n for n, _ in backbone.network.named_parameters() if "layer3" in n}

    @torch.no_grad()
    def test_a_map_of_another_size_than_the_grid_is_refused(self):
        backbone = build_backbone(BackboneSpec("resnet18")).eval()
        with pytest.raises(InputError, match=r"gives a map of \(256, 4, 6\), not \(256, 4, 4\)"):
            backbone.trainable_forward(backbone.frozen_forward(pixels(64, 96), 1), 1, (4, 4))


class TestBadArchitectures:
    @pytest.mark.parametrize(
        ("name", "arguments", "message"),
        [
            ("vit_none", {}, "not one of timm's models"),
            ("maxvit_tiny_rw_224", {}, "not a plain vision transformer"),
            ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}, r"no \[CLS\]"),
            ("vit_tiny_patch16_224", {"nope": 1}, "bad arguments"),
            ("vit_tiny_patch16_224", {"embed_dim": 32, "num_heads": 3}, "bad arguments"),
            ("vit_tiny_patch16_224", {"depth": 0}, "bad arguments"),
            ("vit_tiny_patch16_224", {"patch_size": 0}, "bad arguments"),
            ("resnet18", {"out_indices": [9]}, "bad arguments"),
        ],
    )
    def test_refused_in_one_line(self, name, arguments, message):
        with pytest.raises(InputError, match=message):
            build_backbone(BackboneSpec(name, arguments))

    @pytest.mark.parametrize("error", [OSError("offline"), RuntimeError("no weights")])
    def test_weights_that_cannot_be_fetched_name_the_packaged_backbone(self, monkeypatch, error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(build, "reachable", lambda _: True)
        monkeypatch.setattr(build.timm, "create_model", fail)
        with pytest.raises(InputError) as caught:
            load_backbone("timm", "vit_small_patch16_224.dino")
        message = str(caught.value)
        assert message.startswith("the weights of vit_small_patch16_224.dino could not be fetched")
        assert "--config backbone=dinov2_vits14" in message
        assert "--config weights=FILE" in message
        assert "--weights FILE" in message
