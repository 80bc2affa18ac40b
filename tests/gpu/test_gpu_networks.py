"""Features, losses and gradients of the GPU against the CPU's, in float32 and in bfloat16."""

import copy

import pytest
import torch
from gpu_device import DEVICE, ON_GPU, SAME_FLOAT32, apart, full_float32
from grounding_data import DIM, SIDE, noise, small_grounder, tiny_clip, unit_vectors
from tiny_vit import TINY_VIT

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone
from bbr.clip.relevancy import relevancy_maps
from bbr.command_line.devices import autocast
from bbr.data.augmentation import crop_and_flip
from bbr.detector.networks import DetectorSpec, build_detector
from bbr.detector.set_loss import LossWeights, set_loss
from bbr.grounding.batches import GroundingBatch
from bbr.grounding.losses import REFINEMENT_WEIGHTS
from bbr.grounding.objective import GroundingObjective, Teacher
from bbr.heuristics.registry import heuristic_options
from bbr.refinement.objective import Refinement, RefinementOptions

pytestmark = ON_GPU

BACKBONES = [
    BackboneSpec("vit_tiny_patch16_224", TINY_VIT),
    BackboneSpec("tf_efficientnet_lite0", normalization="layernorm"),
    BackboneSpec("resnet18", normalization="center", scale=1.5),
]
# What bfloat16's 8 bits leave of a value, a few layers deep.
SAME_BFLOAT16 = 0.05


def images(count=4, height=72, width=88):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def backbone(spec):
    torch.manual_seed(0)
    return build_backbone(spec).eval()


def on_both(make):
    """A network, and its copy on the device."""
    network = make()
    return network, copy.deepcopy(network).to(DEVICE)


def gradients(network):
    found = [p.grad.flatten().cpu() for p in network.parameters() if p.grad is not None]
    return torch.cat(found)


@pytest.mark.parametrize("spec", BACKBONES, ids=lambda spec: spec.architecture)
def test_features(spec):
    """Padded, with positions interpolated; in one batch as image by image."""
    here, there = on_both(lambda: backbone(spec))
    with torch.inference_mode(), full_float32():
        expected, found = here(here.prepare(images())), there(there.prepare(images()))
        alone = there(there.prepare(images()[:1]))
    assert found.key.device.type == DEVICE
    assert apart(expected.key, found.key) < SAME_FLOAT32
    assert apart(expected.tokens, found.tokens) < SAME_FLOAT32
    assert apart(found.key[:1], alone.key) < SAME_FLOAT32
    if expected.cls_attention is not None:
        assert apart(expected.cls_attention, found.cls_attention) < SAME_FLOAT32


@pytest.mark.parametrize("spec", BACKBONES, ids=lambda spec: spec.architecture)
def test_features_in_bfloat16(spec):
    _, there = on_both(lambda: backbone(spec))
    with torch.inference_mode():
        plain = there(there.prepare(images())).key
        with autocast(torch.device(DEVICE), "bf16"):
            found = there(there.prepare(images())).key
    assert torch.isfinite(found).all()
    assert 0 < apart(plain, found.float()) < SAME_BFLOAT16


def test_crops_and_flips():
    """Rounded to whole levels, in which the devices may differ by one."""
    expected, found = (
        crop_and_flip(images(6, 64, 64).to(device), torch.Generator().manual_seed(1)).cpu().int()
        for device in ("cpu", DEVICE)
    )
    assert (expected - found).abs().max() <= 1
    assert (expected != found).double().mean() < 1e-3


def test_criterion():
    """Values and gradients, with no, one and several targets in an image."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 10, 2, generator=generator)
    boxes = torch.rand(5, 10, 4, generator=generator)
    targets = [torch.rand(n, 4, generator=generator) for n in (1, 0, 3, 1, 12)]
    losses, slopes = [], []
    for device in ("cpu", DEVICE):
        inputs = [t.detach().to(device).requires_grad_() for t in (logits, boxes)]
        found = set_loss(*inputs, [t.to(device) for t in targets], LossWeights())
        found["total"].backward()
        losses.append(torch.stack(list(found.values())))
        slopes.append(torch.cat([t.grad.flatten() for t in inputs]))
    assert apart(*losses) < 1e-5
    assert apart(*slopes) < SAME_FLOAT32


def refinement(targets):
    torch.manual_seed(0)
    f = build_backbone(BACKBONES[0]).eval()
    detector = build_detector(DetectorSpec("attention", "spatial", 3 * f.dim, width=8))
    options = RefinementOptions(targets=targets, regularize="tokens")
    lost = heuristic_options("lost", {"k_patches": 5})
    return Refinement(f, detector, "qkv", "lost", lost, options, LossWeights())


@pytest.mark.parametrize("targets", ["f", "current", "h"])
def test_a_step_of_refinement(targets):
    """Losses of a batch and the gradient of all of f^h, after one step has moved it off f."""
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.6]]).expand(4, -1)
    losses, slopes = [], []
    with full_float32():
        for device in ("cpu", DEVICE):
            model = refinement(targets).to(device)
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
            for _ in range(2):
                optimizer.zero_grad()
                fixed = model.precompute(images(4, 64, 64), boxes)
                found = model(fixed, (4, 4))
                found["total"].backward()
                optimizer.step()
            losses.append(torch.stack([found["total"], found["h"], found["f"]]))
            slopes.append(gradients(model))
    assert losses[0][2] > 0
    assert apart(*losses) < SAME_FLOAT32
    # Gradients pass through every layer twice.
    assert apart(*slopes) < 10 * SAME_FLOAT32


def test_texts_images_and_relevancy_of_clip():
    here, there = on_both(tiny_clip)
    texts = ["image of a red mug", "image of a blue disc"]
    pictures = noise(2)
    assert apart(here.encode_texts(texts), there.encode_texts(texts)) < SAME_FLOAT32
    found = there.encode_images(pictures.to(DEVICE))
    assert apart(here.encode_images(pictures), found) < SAME_FLOAT32
    expected = relevancy_maps(here, pictures, unit_vectors(2), (SIDE, SIDE))
    on_device = (pictures.to(DEVICE), unit_vectors(2).to(DEVICE))
    maps = relevancy_maps(there, *on_device, (SIDE, SIDE))
    assert maps.device.type == DEVICE
    # Small numbers stretched to [0, 1]: rounding is stretched with them.
    assert apart(expected, maps) < 10 * SAME_FLOAT32


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_of_grounding(precision):
    """g with CLIP, its relevancy maps and a frozen h."""
    torch.manual_seed(0)
    detector = build_detector(DetectorSpec("attention", "spatial", 1, width=8))
    teacher = Teacher(detector, (16, 16), LossWeights())
    wanted = [torch.tensor([[0.5, 0.5, 0.4, 0.6]])] * 2
    totals, slopes = [], []
    for device in ("cpu", DEVICE):
        frozen = copy.deepcopy(teacher)
        model = GroundingObjective(small_grounder(), tiny_clip(), REFINEMENT_WEIGHTS, frozen).eval()
        model = model.to(device)
        batch = GroundingBatch(noise(2).to(device), None, unit_vectors(2, DIM).to(device))
        arithmetic = precision if device == DEVICE else "fp32"
        with full_float32(), autocast(torch.device(device), arithmetic):
            found = model(batch, lambda maps: [boxes.to(maps.device) for boxes in wanted])
        found["total"].backward()
        totals.append(found["total"])
        slopes.append(gradients(model))
    exact = precision == "fp32"
    assert torch.isfinite(slopes[1]).all()
    assert apart(*totals) < (10 * SAME_FLOAT32 if exact else SAME_BFLOAT16)
    assert not exact or apart(*slopes) < 50 * SAME_FLOAT32
