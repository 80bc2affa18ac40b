"""Foregrounds moved onto inpainted backgrounds."""

import pytest
import torch

from bbr.move.composition import compose, random_offsets, shift
from bbr.move.masked_autoencoder import AutoencoderSpec, MaskedAutoencoder, visible_patches


@pytest.fixture
def inpainter():
    torch.manual_seed(0)
    spec = AutoencoderSpec(16, 8, 16, 1, 2, 16, 1, 2)
    return MaskedAutoencoder(spec).eval().requires_grad_(False)


def test_shift_pixel_by_pixel():
    planes = torch.rand(3, 2, 5, 6)
    offsets = torch.tensor([[0, 0], [2, -1], [-3, 4]])
    moved = shift(planes, offsets)
    for b, (dy, dx) in enumerate(offsets.tolist()):
        for y in range(5):
            for x in range(6):
                from_y, from_x = y - dy, x - dx
                known = 0 <= from_y < 5 and 0 <= from_x < 6
                wanted = planes[b, :, from_y, from_x] if known else torch.zeros(2)
                assert torch.equal(moved[b, :, y, x], wanted)


def test_offsets_stay_within_their_share():
    offsets = random_offsets(1000, 64, 0.125, torch.Generator().manual_seed(0))
    assert (offsets.min(), offsets.max()) == (-8, 8)
    assert offsets.dtype == torch.int64


def test_an_empty_mask_moves_nothing(inpainter):
    images = torch.rand(2, 3, 16, 16)
    made = compose(inpainter, images, torch.zeros(2, 1, 16, 16), torch.tensor([[1, 2], [0, -1]]))
    # Nothing is hidden from the decoder, so that the background is the image as it draws it.
    for name in ("unmoved", "moved", "pasted"):
        assert torch.allclose(getattr(made, name), made.real, atol=1e-5)


def test_what_is_composed_where(inpainter):
    images = torch.rand(1, 3, 16, 16)
    mask = torch.zeros(1, 1, 16, 16)
    mask[:, :, 2:4, 2:5] = 1
    made = compose(inpainter, images, mask, torch.tensor([[3, 0]]))
    there = torch.zeros(1, 1, 16, 16)
    there[:, :, 5:7, 2:5] = 1
    assert torch.equal(made.mask, there)
    drawn = inpainter.decode(inpainter.encode(shift(images, torch.tensor([[3, 0]]))))
    hidden = torch.tensor([[0.0, 1, 1, 1]])  # both places lie in the first of four patches
    assert torch.equal(visible_patches(mask.maximum(there), 8), hidden)
    background = inpainter.decode(inpainter.encode(images), hidden)
    inside, outside = there.bool().expand_as(images), ~there.bool().expand_as(images)
    assert torch.allclose(made.moved[inside], drawn[inside], atol=1e-6)
    assert torch.allclose(made.moved[outside], background[outside], atol=1e-6)
    assert torch.allclose(made.pasted[outside], made.real[outside], atol=1e-6)


def test_the_mask_gets_a_gradient_and_the_inpainter_none(inpainter):
    mask = torch.full((1, 1, 16, 16), 0.4, requires_grad=True)
    made = compose(inpainter, torch.rand(1, 3, 16, 16), mask, torch.tensor([[2, 2]]))
    made.moved.square().sum().backward()
    assert mask.grad.abs().sum() > 0
    assert all(p.grad is None for p in inpainter.parameters())
