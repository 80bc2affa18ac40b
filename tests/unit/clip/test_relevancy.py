"""CLIP's relevancy map, against one pair at a time with the attention as part of the graph."""

import math

import cv2
import open_clip
import pytest
import timm
import torch
from grounding_data import DIM, SIDE, WORDS, noise, tiny_clip, unit_vectors
from open_clip.timm_model import TimmModel
from torch import nn
from torch.nn import functional

from bbr.clip.network import Clip, load_clip
from bbr.clip.relevancy import patch_relevancy, relevancy_maps
from bbr.errors import InputError

# Both sum the same few hundred float32 products in another order.
TOLERANCE = {"atol": 1e-7, "rtol": 1e-4}


def slow_last_block(tower, pixels):
    """open_clip's image tower with the last attention written out: output and attention."""
    seen = {}
    block = tower.transformer.resblocks[-1]
    hook = block.register_forward_pre_hook(
        lambda _, args, kwargs: seen.update(x=args[0] if args else kwargs["q_x"]), with_kwargs=True
    )
    tower(pixels)
    hook.remove()
    x = seen["x"]
    attn = block.attn
    q, k, v = (
        part.view(1, -1, attn.num_heads, attn.head_dim).transpose(1, 2)
        for part in (block.ln_1(x) @ attn.in_proj_weight.T + attn.in_proj_bias).chunk(3, dim=-1)
    )
    weights = (q @ k.transpose(2, 3) / attn.head_dim**0.5).softmax(-1).detach().requires_grad_()
    mixed = (weights @ v).transpose(1, 2).flatten(2)
    x = x + mixed @ attn.out_proj.weight.T + attn.out_proj.bias
    x = x + block.mlp(block.ln_2(x))
    return tower.ln_post(x)[:, 0] @ tower.proj, weights


def slow_timm(tower, module, pixels):
    """timm's, whose unfused attention passes its weights through a dropout that can be hooked."""
    seen = {}
    module.fused_attn = False
    hook = module.attn_drop.register_forward_hook(
        lambda _, args, output: seen.update(w=output.detach().requires_grad_()) or seen["w"]
    )
    output = tower(pixels)
    hook.remove()
    module.fused_attn = True
    return output, seen["w"]


def slow_pool(tower, module, pixels):
    """timm's attention pooling written out."""
    trunk = tower.trunk
    tokens = trunk.forward_features(pixels)
    heads = (1, -1, module.num_heads, module.head_dim)
    q = module.q(module.latent).view(heads).transpose(1, 2)
    k, v = (part.reshape(heads).transpose(1, 2) for part in module.kv(tokens).chunk(2, dim=-1))
    weights = (q @ k.transpose(2, 3) / module.head_dim**0.5).softmax(-1).detach().requires_grad_()
    pooled = module.proj((weights @ v).transpose(1, 2).flatten(2))
    pooled = (pooled + module.mlp(module.norm(pooled)))[:, 0]
    return tower.head(trunk.fc_norm(pooled)), weights


def slow_map(run, text, prefix):
    """R = I + mean over heads of relu(grad ⊙ attention); the first row without itself."""
    output, weights = run()
    cosine = functional.cosine_similarity(output[0], text, dim=0)
    (gradient,) = torch.autograd.grad(cosine, weights)
    update = (gradient * weights).clamp(min=0).mean(dim=1)[0]
    if len(update) == update.shape[1]:
        update = torch.eye(len(update)) + update
    row = update[0, prefix:].detach()
    return row.view(math.isqrt(len(row)), -1)


def timm_clip(**arguments):
    """A CLIP whose image tower is a vision transformer of timm."""
    torch.manual_seed(0)
    tower = TimmModel("vit_tiny_patch16_224", DIM, image_size=SIDE, pool="", proj="linear")
    tower.trunk = timm.create_model(
        "vit_tiny_patch16_224",
        num_classes=0,
        img_size=SIDE,
        embed_dim=32,
        depth=2,
        num_heads=2,
        **arguments,
    )
    tower.head = nn.Linear(32, DIM)
    model = nn.Module()
    model.visual = tower.eval()
    model.encode_image = tower.forward
    return Clip(model, lambda texts: texts, (SIDE, SIDE), (0.5,) * 3, (0.5,) * 3)


def test_it_is_the_slow_one_on_open_clips_transformer():
    clip, images, texts = tiny_clip(), noise(3), unit_vectors(3)
    found = patch_relevancy(clip, images, texts)
    assert found.shape == (3, 4, 4)
    for image, text, relevancy in zip(images, texts, found, strict=True):
        pixels = clip.prepare(image.unsqueeze(0))
        tower = clip.model.visual.transformer
        slow = slow_map(lambda p=pixels, t=tower: slow_last_block(t, p), text, prefix=1)
        torch.testing.assert_close(relevancy, slow, **TOLERANCE)
        assert relevancy.max() > 0


@pytest.mark.parametrize(
    ("arguments", "attention", "slow"),
    [
        ({"global_pool": "token"}, lambda trunk: trunk.blocks[-1].attn, slow_timm),
        # As SigLIP has it: no [CLS], but a learnt query that pools the patches.
        ({"global_pool": "map", "class_token": False}, lambda trunk: trunk.attn_pool, slow_pool),
        ({"global_pool": "token", "qk_norm": True}, lambda trunk: trunk.blocks[-1].attn, slow_timm),
    ],
)
def test_it_is_the_slow_one_on_timms_transformers(arguments, attention, slow):
    clip, images, texts = timm_clip(**arguments), noise(2), unit_vectors(2)
    tower = clip.model.visual
    module, prefix = attention(tower.trunk), tower.trunk.num_prefix_tokens
    found = patch_relevancy(clip, images, texts)
    for image, text, relevancy in zip(images, texts, found, strict=True):
        pixels = clip.prepare(image.unsqueeze(0))
        literal = slow_map(lambda p=pixels: slow(tower, module, p), text, prefix)
        torch.testing.assert_close(relevancy, literal, **TOLERANCE)


@pytest.mark.slow
def test_siglip_as_open_clip_builds_it(tmp_path, monkeypatch):
    """Key for key from a file, without weights; its tokenizer alone comes from the hub."""
    name = "ViT-B-16-SigLIP"
    torch.manual_seed(0)
    model = open_clip.create_model(name)
    torch.save(model.state_dict(), tmp_path / "siglip.pt")
    numbers = {"image of a mug": 7, "image of a disc": 8}
    monkeypatch.setattr(
        open_clip,
        "get_tokenizer",
        lambda _: lambda texts: torch.tensor([[numbers[t]] * 64 for t in texts]),
    )
    clip = load_clip(str(tmp_path / "siglip.pt"), name)
    for key, tensor in model.state_dict().items():
        assert torch.equal(clip.model.state_dict()[key], tensor), key
    assert clip.size == (224, 224)
    assert clip.mean.flatten().tolist() == [0.5] * 3
    texts = clip.encode_texts(list(numbers))
    assert texts.shape == (2, 768)
    tower, images = clip.model.visual, noise(2, 224, 224)
    found = patch_relevancy(clip, images, texts)
    assert found.shape == (2, 14, 14)
    pixels = clip.prepare(images[:1])
    literal = slow_map(lambda: slow_pool(tower, tower.trunk.attn_pool, pixels), texts[0], 0)
    assert literal.max() > 0
    torch.testing.assert_close(found[0] / literal.max(), literal / literal.max(), **TOLERANCE)


def test_a_batch_is_its_pairs():
    clip, images, texts = tiny_clip(), noise(3), unit_vectors(3)
    together = relevancy_maps(clip, images, texts, (20, 30))
    alone = [relevancy_maps(clip, images[i : i + 1], texts[i : i + 1], (20, 30)) for i in range(3)]
    # Min-max scaling divides by small ranges and so magnifies rounding.
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=0)
    assert together.amin(dim=(1, 2)).tolist() == [0, 0, 0]
    assert together.amax(dim=(1, 2)).tolist() == [1, 1, 1]


def test_a_map_of_one_value_becomes_0():
    clip = tiny_clip()
    with torch.no_grad():  # nothing depends on the attention any more
        clip.model.visual.transformer.transformer.resblocks[-1].attn.out_proj.weight.zero_()
    assert relevancy_maps(clip, noise(1), unit_vectors(1), (8, 8)).abs().max() == 0


def test_it_leaves_no_trace():
    clip, images, texts = tiny_clip(), noise(2), unit_vectors(2)
    before = clip.encode_images(images)
    with torch.no_grad():
        assert not relevancy_maps(clip, images, texts, (8, 8)).requires_grad
    assert torch.equal(clip.encode_images(images), before)
    assert all(p.grad is None for p in clip.parameters())
    assert all(not module._forward_hooks for module in clip.modules())
    assert all(not module._forward_pre_hooks for module in clip.modules())


def test_a_tower_without_cls_is_refused():
    clip = timm_clip(global_pool="avg")
    with pytest.raises(InputError, match="neither \\[CLS\\] nor attention pooling"):
        patch_relevancy(clip, noise(1), unit_vectors(1))


def test_words_are_those_of_the_tiny_clip():
    assert tiny_clip().spec.vocabulary == WORDS


def test_images_in_bfloat16_of_another_size():
    """As Fabric hands them over under --precision bf16."""
    clip = tiny_clip()
    images = noise(1, 2 * SIDE, 2 * SIDE)
    found = clip.encode_images(images.bfloat16())
    torch.testing.assert_close(found, clip.encode_images(images), atol=0.01, rtol=0)


def test_maps_are_scaled_before_they_are_resized_as_wwbl_s_code_does():
    """7 × 7 to CLIP's side, min-max there, then to g's with corners aligned: pixel by pixel."""
    clip = timm_clip()
    clip.resizing = "bilinear"
    images, texts = torch.rand(2, 3, SIDE, SIDE), functional.normalize(torch.randn(2, DIM), dim=1)
    found = relevancy_maps(clip, images, texts, (11, 11))
    for patches, heatmap in zip(patch_relevancy(clip, images, texts), found, strict=True):
        drawn = cv2.resize(patches.numpy(), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        drawn = (drawn - drawn.min()) / (drawn.max() - drawn.min())
        for row in range(11):
            for column in range(11):
                y, x = row * (SIDE - 1) / 10, column * (SIDE - 1) / 10
                top, left = min(int(y), SIDE - 2), min(int(x), SIDE - 2)
                upper = drawn[top, left : left + 2] @ [1 - (x - left), x - left]
                lower = drawn[top + 1, left : left + 2] @ [1 - (x - left), x - left]
                expected = upper * (1 - (y - top)) + lower * (y - top)
                assert float(heatmap[row, column]) == pytest.approx(expected, abs=1e-4)
