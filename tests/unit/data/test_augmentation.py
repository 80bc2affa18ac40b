"""Crops and flips, read off images whose pixels say where they come from."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from bbr.data.augmentation import crop_and_flip, crop_native, drop_channels, flip_maps

SIDE = 120


def located(count):
    """Images whose red is twice the column and whose green is twice the row of each pixel."""
    axis = 2 * torch.arange(SIDE, dtype=torch.uint8)
    red, green = axis.expand(SIDE, SIDE), axis.view(-1, 1).expand(SIDE, SIDE)
    return torch.stack((red, green, torch.zeros_like(red))).expand(count, -1, -1, -1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sampled_axes(images):
    """Columns and rows of the original at each column and row of augmented `located` images."""
    values = images.double().numpy() / 2
    return values[:, 0].mean(axis=1), values[:, 1].mean(axis=2)


def slopes(axes):
    """Source pixels per pixel, away from the borders, where bicubic sampling is exact on a ramp.

    Rounding to 8 bits moves each by at most a quarter of a pixel: 1/200 of the slope over 100.
    """
    middle = np.arange(10, SIDE - 10)
    return np.array([np.polyfit(middle, axis[middle], 1)[0] for axis in axes])


def test_same_generator_same_images():
    images = torch.randint(0, 256, (4, 3, 30, 30), dtype=torch.uint8, generator=seeded())
    once, again = crop_and_flip(images, seeded(3)), crop_and_flip(images, seeded(3))
    assert torch.equal(once, again)
    assert once.shape == images.shape
    assert once.dtype == torch.uint8
    assert not torch.equal(once, crop_and_flip(images, seeded(4)))


def test_crops_of_native_images_are_torchvision_s():
    """The released code's transforms as they stand, with torchvision's random numbers."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
    original = transforms.Compose(
        [
            transforms.RandomResizedCrop((32, 32), scale=(0.9, 1), interpolation=3),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
        ]
    )
    seen = set()
    for seed in range(8):
        state = torch.get_rng_state()
        found = crop_native(pixels, 32, seeded(seed))
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(int(torch.randint(2**62, (), generator=seeded(seed))))
        assert torch.equal(found, original(Image.fromarray(pixels)))
        seen.add(tuple(found.flatten()[:9].tolist()))
    assert len(seen) == 8


def test_global_random_state_does_not_matter():
    torch.manual_seed(1)
    first = crop_and_flip(located(2), seeded())
    torch.manual_seed(2)
    assert torch.equal(first, crop_and_flip(located(2), seeded()))


def test_an_image_takes_its_draws_in_turn():
    """A batch in two parts, as accumulated gradients have it, is the batch as a whole."""
    generator = seeded(5)
    images = located(6)
    parts = [crop_and_flip(part, generator) for part in images.split(2)]
    assert torch.equal(torch.cat(parts), crop_and_flip(images, seeded(5)))


def test_whole_crops_are_the_image_or_its_mirror():
    images = located(64)
    augmented = crop_and_flip(images, seeded(), min_area=1.0)
    same = (augmented == images).flatten(1).all(dim=1)
    mirrored = (augmented == images.flip(-1)).flatten(1).all(dim=1)
    assert (same ^ mirrored).all()
    # 64 fair coins: outside 16..48 once in 50,000 seeds.
    assert 16 <= same.sum() <= 48


def test_crops_are_square_windows_of_at_least_the_least_area():
    columns, rows = sampled_axes(crop_and_flip(located(64), seeded(), min_area=0.5))
    horizontal, vertical = slopes(columns), slopes(rows)
    assert (vertical > 0).all(), "upside down"
    assert (horizontal < 0).any()
    assert (horizontal > 0).any()
    np.testing.assert_allclose(np.abs(horizontal), vertical, atol=0.01)
    # The side is rounded to whole pixels: half of one in 120.
    assert vertical.min() > 0.5**0.5 - 0.01
    assert vertical.max() < 1.01
    assert np.ptp(vertical) > 0.2


def test_windows_lie_inside_the_image_and_anywhere_in_it():
    columns, rows = sampled_axes(crop_and_flip(located(64), seeded(1), min_area=0.6))
    left, right = columns.min(axis=1), columns.max(axis=1)
    assert left.min() >= 0
    assert right.max() <= SIDE - 1
    free = SIDE - 1 - (right - left)
    share = left[free > 10] / free[free > 10]
    assert share.min() < 0.2
    assert share.max() > 0.8
    assert rows.min() >= 0


def test_default_is_at_least_nine_tenths_of_the_area():
    _, rows = sampled_axes(crop_and_flip(located(64), seeded()))
    assert (slopes(rows) > 0.9**0.5 - 0.01).all()


def test_mirrored_maps_take_their_boxes_along():
    maps = torch.randn(64, 2, 3, 5, generator=seeded())
    boxes = torch.rand(64, 4, generator=seeded())
    flipped, moved = flip_maps(maps, boxes, seeded(1))
    count = 0
    for before, after, box, new in zip(maps, flipped, boxes, moved, strict=True):
        mirrored = torch.equal(after, before.flip(-1))
        assert mirrored != torch.equal(after, before)
        assert torch.equal(new[1:], box[1:])
        assert new[0] == (1 - box[0] if mirrored else box[0])
        count += mirrored
    assert 16 <= count <= 48
    assert torch.equal(flip_maps(maps, boxes, seeded(1))[0], flipped)
    assert not torch.equal(flip_maps(maps, boxes, seeded(2))[0], flipped)


def test_silenced_channels_are_silent_everywhere_and_the_rest_makes_up_for_them():
    maps = torch.ones(16, 3, 5, 200)
    dropped = drop_channels(maps, 0.25, seeded())
    assert (dropped == dropped[:, :, :1]).all(), "a channel is kept or silenced at every patch"
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    # 9,600 draws with a standard deviation of 0.0044: five of them.
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.022)
    assert not torch.equal(dropped[0], dropped[1])
    assert not torch.equal(dropped[:, 0], dropped[:, 1])
    assert torch.equal(drop_channels(maps, 0.25, seeded()), dropped)


def test_no_channels_to_drop_draws_nothing():
    generator = seeded()
    maps = torch.randn(2, 1, 3, 4)
    assert drop_channels(maps, 0.0, generator) is maps
    assert torch.rand(1, generator=generator) == torch.rand(1, generator=seeded())


def test_silenced_channels_get_no_gradient():
    maps = torch.randn(2, 1, 3, 40, requires_grad=True)
    dropped = drop_channels(maps, 0.5, seeded())
    dropped.sum().backward()
    assert torch.equal(maps.grad == 0, dropped == 0)
