"""f's pixel pipeline, normalisation and positions: docs/protocol.md and DINO written out."""

import math

import numpy as np
import pytest
import torch
from tiny_vit import TINY_VIT

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone
from bbr.backbones.vit import interpolate_positions
from bbr.errors import InputError

TINY = TINY_VIT | {"depth": 1}


def vit(**changes):
    torch.manual_seed(0)
    return build_backbone(BackboneSpec("vit_tiny_patch16_224", TINY, **changes)).eval()


def images(height, width):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=generator)


class TestPrepare:
    def test_normalises_then_pads_right_and_bottom_with_zeros(self):
        source = images(20, 40)
        prepared = vit(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125)).prepare(source)
        assert prepared.shape == (2, 3, 32, 48)
        expected = np.zeros((2, 3, 32, 48))
        for channel, (mean, std) in enumerate(((0.1, 0.5), (0.2, 0.25), (0.3, 0.125))):
            expected[:, channel, :20, :40] = (source[:, channel] / 255 - mean) / std
        # float32 arithmetic on values up to 8.
        np.testing.assert_allclose(prepared, expected, atol=1e-5)

    def test_a_multiple_of_the_patch_is_not_padded(self):
        assert vit().prepare(images(32, 48)).shape == (2, 3, 32, 48)

    @pytest.mark.parametrize("size", [(1, 1), (15, 17), (33, 64), (100, 7)])
    @pytest.mark.parametrize("scale", [1.0, 2.0, 0.5, 1.7])
    def test_grid_of_is_the_grid_that_comes_out(self, size, scale):
        backbone = vit(scale=scale)
        assert backbone.patch_pixels == 16 / scale
        prepared = backbone.prepare(images(*size))
        assert backbone.grid_of(*size) == (prepared.shape[2] // 16, prepared.shape[3] // 16)
        with torch.no_grad():
            assert backbone(prepared).grid == backbone.grid_of(*size)

    def test_scale_keeps_an_even_image_even(self):
        backbone = vit(scale=2.0, mean=(0.0,) * 3, std=(1.0,) * 3)
        prepared = backbone.prepare(torch.full((1, 3, 10, 16), 51, dtype=torch.uint8))
        torch.testing.assert_close(prepared[:, :, :20], torch.full((1, 3, 20, 32), 0.2))
        assert not prepared[:, :, 20:].any()

    @pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
    def test_impossible_scales_are_refused(self, scale):
        with pytest.raises(InputError, match="not a positive number"):
            vit(scale=scale)


class TestNormalization:
    @torch.no_grad()
    @pytest.mark.parametrize("name", ["center", "layernorm"])
    def test_of_each_image_s_plane(self, name):
        plain, normalised = vit(), vit(normalization=name)
        pixels = plain.prepare(images(32, 48))
        before, after = plain(pixels), normalised(pixels)
        for key, got in zip(before.key.double().numpy(), after.key.numpy(), strict=True):
            if name == "center":
                expected = key - key.mean(axis=0)
            else:
                # LayerNorm over the whole (patches, channels) plane; torch adds 1e-5 to the
                # variance.
                expected = (key - key.mean()) / np.sqrt(key.var() + 1e-5)
            np.testing.assert_allclose(got, expected, atol=1e-5)
        # Only keys are what the heuristics read.
        assert torch.equal(before.query, after.query)
        assert torch.equal(before.tokens, after.tokens)

    def test_unknown(self):
        with pytest.raises(InputError, match="normalization 'l2' is unknown"):
            vit(normalization="l2")


def cubic(distance):
    """Keys' convolution kernel with a = -0.75, which torch's bicubic interpolation uses."""
    a, x = -0.75, abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    if x < 2:
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return 0.0


def resampling(side, target):
    """(target, side) weights of DINO's interpolation along one axis.

    DINO passes the scale factor (target + 0.1) / side; positions of the target are therefore
    looked up at (i + 0.5) / factor - 0.5, and beyond the border its values are repeated.
    """
    factor = (target + 0.1) / side
    weights = np.zeros((target, side))
    for i in range(target):
        place = (i + 0.5) / factor - 0.5
        for tap in range(math.floor(place) - 1, math.floor(place) + 3):
            weights[i, min(max(tap, 0), side - 1)] += cubic(place - tap)
    return weights


class TestPositions:
    @pytest.mark.parametrize("target", [(4, 5), (3, 3), (7, 2), (1, 1), (14, 9)])
    def test_equal_dino_s_formula(self, target):
        positions = torch.randn(1, 20, 6, generator=torch.Generator().manual_seed(0))
        got = interpolate_positions(positions, (5, 4), target)
        plane = positions.double().numpy().reshape(5, 4, 6)
        rows, columns = resampling(5, target[0]), resampling(4, target[1])
        expected = np.einsum("ih,jw,hwd->ijd", rows, columns, plane).reshape(1, -1, 6)
        # float32 sums of 16 terms around 1.
        np.testing.assert_allclose(got, expected, atol=2e-5)

    def test_the_native_grid_is_left_alone(self):
        positions = torch.randn(1, 20, 6)
        assert interpolate_positions(positions, (5, 4), (5, 4)) is positions

    def test_same_number_of_patches_in_another_shape_is_resampled(self):
        positions = torch.randn(1, 20, 6)
        assert not torch.equal(interpolate_positions(positions, (5, 4), (4, 5)), positions)
