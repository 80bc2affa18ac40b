"""Self-distillation: targets, crops, masks, and that it learns."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_vit import TINY_VIT

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone
from bbr.backbones.pretraining import (
    Distillation,
    PretrainingOptions,
    cross_entropy,
    random_block_masks,
    random_crops,
    sinkhorn,
)

OPTIONS = PretrainingOptions(
    crop_size=64, local_crops=2, local_size=32, prototypes=32, momentum=0.99
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def toy_images(count=16, side=64):
    """Plain discs of random place and colour on grey."""
    generator = seeded(1)
    place = torch.rand(count, 2, 1, 1, generator=generator) * side
    color = torch.randint(0, 256, (count, 3, 1, 1), generator=generator)
    axis = torch.arange(side)
    distance = (axis.view(1, -1, 1) - place[:, 0]) ** 2 + (axis - place[:, 1]) ** 2
    return torch.where(distance.unsqueeze(1) < (side / 4) ** 2, color, 128).to(torch.uint8)


def distillation(options=OPTIONS):
    torch.manual_seed(0)
    backbone = build_backbone(
        BackboneSpec("vit_tiny_patch16_224", TINY_VIT, normalization="center")
    )
    return Distillation(backbone, options)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**31), st.floats(0.1, 10))
def test_targets_are_distributions(rows, columns, seed, spread):
    plan = sinkhorn(spread * torch.randn(rows, columns, generator=seeded(seed)))
    assert (plan >= 0).all()
    # The last scaling is that of the rows: 1 but for rounding.
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(rows))


def test_prototypes_share_the_batch_evenly():
    logits = torch.randn(200, 10, generator=seeded()) + torch.linspace(0, 3, 10)
    before = logits.softmax(dim=1).sum(dim=0)
    after = sinkhorn(logits).sum(dim=0)
    converged = sinkhorn(logits, iterations=200).sum(dim=0)
    assert before.max() / before.min() > 5
    # Three rounds of a scaling whose error falls several times a round leave a few per cent.
    torch.testing.assert_close(after, torch.full((10,), 20.0), rtol=0.05, atol=0)
    torch.testing.assert_close(converged, torch.full((10,), 20.0), rtol=1e-4, atol=0)


def test_two_rows_that_want_the_same_prototype_by_hand():
    """[[4, 1], [4, 1]]: columns to [[1/2, 1/2], ...], rows stay: each row is half of each."""
    plan = sinkhorn(torch.tensor([[4.0, 1.0], [4.0, 1.0]]).log(), iterations=1)
    torch.testing.assert_close(plan, torch.full((2, 2), 0.5))


def test_extreme_logits_stay_finite():
    plan = sinkhorn(torch.tensor([[0.0, 500.0], [-500.0, 0.0], [1.0, 2.0]]))
    assert plan.isfinite().all()


def test_cross_entropy_by_hand():
    options = PretrainingOptions(student_temperature=0.5)
    logits = torch.tensor([[0.0, math.log(3) / 2], [1.0, 1.0]])  # p = (1/4, 3/4) and (1/2, 1/2)
    target = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    expected = (0.5 * math.log(4) + 0.5 * math.log(4 / 3) + math.log(2)) / 2
    assert cross_entropy(logits, target, options).item() == pytest.approx(expected)


def test_crops_depend_on_the_generator_alone():
    images = toy_images(4)
    torch.manual_seed(1)
    once = random_crops(images, 64, (0.15, 0.65), seeded(3))
    torch.manual_seed(2)
    assert torch.equal(random_crops(images, 64, (0.15, 0.65), seeded(3)), once)
    assert not torch.equal(random_crops(images, 64, (0.15, 0.65), seeded(4)), once)
    assert once.shape == (4, 3, 64, 64)
    assert once.dtype == torch.float32
    assert once.min() >= 0
    assert once.max() <= 1


def test_crops_of_a_plain_image_are_plain():
    """Whatever the window, the flip and the colours, one colour remains one colour."""
    images = torch.tensor([200, 90, 40], dtype=torch.uint8).view(1, 3, 1, 1).expand(8, 3, 50, 70)
    crops = random_crops(images, 64, (0.15, 0.65), seeded())
    spread = crops.amax(dim=(2, 3)) - crops.amin(dim=(2, 3))
    assert spread.max() < 1e-5
    assert crops[:, :, 0, 0].std(dim=0).min() > 0.01  # colours were jittered


@settings(deadline=None)
@given(st.integers(1, 12), st.floats(0.1, 0.9), st.integers(0, 2**31))
def test_masks_are_blocks_within_the_ratio(side, ratio, seed):
    masks = random_block_masks(20, side, ratio, seeded(seed))
    assert masks.shape == (20, side * side)
    assert masks.dtype == torch.bool
    for mask in masks.view(20, side, side):
        rows, columns = mask.any(dim=1), mask.any(dim=0)
        height, width = int(rows.sum()), int(columns.sum())
        assert mask.any()
        assert mask.sum() == height * width, "not a rectangle"
        # Sides are rounded to whole patches, up by half of one at most, and 1 at least.
        least = max(height - 0.5, 0.5) * max(width - 0.5, 0.5)
        assert min(height, width) == 1 or least <= ratio * side * side + 1e-3


def test_teacher_gets_no_gradient_and_student_all_of_it():
    model = distillation()
    losses = model(toy_images(), seeded())
    assert losses["total"].item() == pytest.approx((losses["cls"] + losses["patch"]).item())
    losses["total"].backward()
    teacher = [*model.teacher.parameters(), *model.teacher_head.parameters()]
    assert all(p.grad is None and not p.requires_grad for p in teacher)
    student = [*model.student.named_parameters(), *model.student_head.named_parameters()]
    assert [name for name, p in student if p.grad is None or not p.grad.any()] == []


def test_trained_parameters_are_the_student_s_each_once():
    model = distillation()
    groups = model.parameter_groups(0.05)
    trained = [p for group in groups for p in group["params"]]
    student = [*model.student.parameters(), *model.student_head.parameters()]
    assert {id(p) for p in trained} == {id(p) for p in student}
    assert len(trained) == len(student)
    decay = {p.ndim > 1: group["weight_decay"] for group in groups for p in group["params"]}
    assert decay == {True: 0.05, False: 0.0}


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
def test_teacher_is_the_moving_average(progress, momentum):
    model = distillation(replace(OPTIONS, momentum=0.9))
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter += 1
    before = copy.deepcopy(model.teacher.state_dict())
    model.update_teacher(progress)
    after, student = model.teacher.state_dict(), model.student.state_dict()
    for name, tensor in after.items():
        expected = momentum * before[name] + (1 - momentum) * student[name]
        torch.testing.assert_close(tensor, expected, atol=1e-6, rtol=1e-5)


def test_loss_is_that_of_the_generator():
    model = distillation()
    images = toy_images()
    once = model(images, seeded(2))["total"]
    assert model(images, seeded(2))["total"] == once
    assert model(images, seeded(3))["total"] != once


def test_every_crop_is_compared_with_each_large_crop_but_itself():
    """Against a loop over pairs of crops, on the very crops that the model drew."""
    model = distillation(replace(OPTIONS, mask_ratio=1e-6))
    images = toy_images(6)
    drawn = []
    draw = model._crops

    def keep(*arguments):
        drawn.append(draw(*arguments))
        return drawn[-1]

    model._crops = keep
    loss = model(images, seeded())["cls"]
    large, small = (crops.unflatten(0, (-1, len(images))) for crops in drawn)
    # The smallest block is one patch: it is hidden from the student here as there.
    masks = random_block_masks_after(model, len(images))
    targets = sinkhorn(
        model.teacher_head(model.teacher(drawn[0]).tokens[:, 0]) / OPTIONS.teacher_temperature
    ).unflatten(0, (2, -1))
    pairs = []
    for i in range(2):
        depth = model.student.depth
        state = model.student.frozen_forward(large[i], depth, patch_mask=masks[i])
        tokens = model.student.trainable_forward(state, depth, (4, 4)).tokens
        logits = model.student_head(tokens[:, 0])
        pairs.append(cross_entropy(logits, targets[1 - i], OPTIONS))
    for crops in small:
        logits = model.student_head(model.student(crops).tokens[:, 0])
        pairs += [cross_entropy(logits, targets[i], OPTIONS) for i in range(2)]
    assert len(small) == 2
    # Batches of another size differ in the last bits of float32.
    assert loss.item() == pytest.approx(sum(pairs).item() / len(pairs), rel=1e-5)


def random_block_masks_after(model, count):
    """The masks that `seeded()` gives once the two large crops are drawn from it."""
    generator = seeded()
    for _ in range(2):
        random_crops(toy_images(count), 64, model.options.crop_scale, generator)
    return random_block_masks(2 * count, 4, 1e-6, generator).unflatten(0, (2, -1))


def test_without_small_crops_two_views_remain():
    model = distillation(replace(OPTIONS, local_crops=0))
    losses = model(toy_images(), seeded())
    assert losses["total"].isfinite()


def test_it_learns():
    """On the same crops and masks at every step, so that their luck is not in the curve."""
    model = distillation()
    optimizer = torch.optim.AdamW(model.parameter_groups(0.0), lr=2e-3)
    images = toy_images()
    losses = []
    for step in range(30):
        optimizer.zero_grad()
        loss = model(images, seeded())["total"]
        loss.backward()
        optimizer.step()
        model.update_teacher(step / 30)
        losses.append(loss.item())
    # Uniform predictions cost log(32) a term; knowing something of the other crop costs less.
    assert losses[0] > 2 * math.log(32) * 0.95
    assert losses[-1] < 0.85 * losses[0]
