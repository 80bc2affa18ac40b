"""The heuristics by name: options, clipping, and boxes from maps in memory."""

import numpy as np
import pytest
import torch

from bbr.backbones.feature_maps import FeatureMaps
from bbr.errors import InputError
from bbr.heuristics.registry import (
    METHODS,
    LostOptions,
    heuristic_options,
    propose_boxes,
    propose_training_boxes,
)


def batch(key, grid, sizes, attention=None, patch_size=16.0, masks=None):
    return FeatureMaps(
        image_sizes=np.array(sizes),
        grid=grid,
        key=key,
        cls_attention=attention,
        patch_size=patch_size,
        image_masks=masks,
    )


def propose(features, method, **options):
    return propose_boxes(features, method, heuristic_options(method, options)).tolist()


class TestOptions:
    def test_defaults(self):
        assert heuristic_options("lost", {}) == LostOptions(k_patches=100)
        assert vars(heuristic_options("dino_seg", {})) == {"head": 4, "attention_mass": 0.6}
        assert vars(heuristic_options("maskcut", {})) == {"threshold": 0.15, "epsilon": 1e-5}
        assert vars(heuristic_options("most", {})) == {"threshold": 0.2, "scales": 5}
        assert vars(heuristic_options("center", {})) == {"fraction": 0.7}
        assert vars(heuristic_options("whole_image", {})) == {}

    def test_unknown_method_is_refused_with_the_known_ones(self):
        with pytest.raises(InputError, match=r"'los' is unknown; .*lost.*whole_image"):
            heuristic_options("los", {})

    @pytest.mark.parametrize(
        ("method", "option"),
        [
            ("lost", "attention_mass"),
            ("center", "k_patches"),
            ("whole_image", "fraction"),
            ("dino_seg", "x"),
        ],
    )
    def test_options_of_another_method_are_refused_by_name(self, method, option):
        with pytest.raises(InputError, match=f"method {method} has no option '{option}'"):
            heuristic_options(method, {option: 1})

    @pytest.mark.parametrize(
        ("method", "option", "value"),
        [
            ("lost", "k_patches", 0),
            ("dino_seg", "head", -1),
            ("lost", "k_patches", -0.1),
            ("lost", "k_patches", 2.5),
            ("lost", "k_patches", float("nan")),
            ("lost", "k_patches", float("inf")),
            ("dino_seg", "attention_mass", 0.0),
            ("dino_seg", "attention_mass", 1.5),
            ("dino_seg", "attention_mass", float("nan")),
            ("most", "scales", 0),
            ("maskcut", "threshold", 1.0),
            ("center", "fraction", -0.1),
        ],
    )
    def test_values_out_of_range_are_refused_by_name(self, method, option, value):
        with pytest.raises(InputError, match=f"method {method}: {option} is"):
            heuristic_options(method, {option: value})


class TestBoxes:
    # One object patch at the lower right corner of a 2 x 3 grid, and its mirror image.
    CORNER = torch.tensor([[-1.0], [-1], [-1], [-1], [-1], [1]])

    def test_clipped_to_the_unpadded_image(self):
        features = batch(self.CORNER[None], (2, 3), [(20, 41)])
        assert propose(features, "lost") == [[32, 16, 41, 20]]

    def test_sizes_may_differ_within_a_grid(self):
        keys = torch.stack((self.CORNER, self.CORNER.flip(0)))
        features = batch(keys, (2, 3), [(20, 41), (32, 48)])
        assert propose(features, "lost") == [[32, 16, 41, 20], [0, 0, 16, 16]]

    def test_fractional_patches_of_a_scaled_image(self):
        features = batch(self.CORNER[None], (2, 3), [(16, 22)], patch_size=7.5)
        assert propose(features, "lost") == [[15, 7.5, 22, 15]]

    def test_lowest_reaches_lost(self):
        keys = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]])
        features = batch(keys, (1, 3), [(16, 48)])
        assert propose(features, "lost", k_patches=2) == [[0, 0, 32, 16]]
        assert propose(features, "lost", k_patches=3) == [[0, 0, 48, 16]]
        assert propose(features, "lost", k_patches=0.67) == [[0, 0, 32, 16]]

    def test_center_and_whole_image(self):
        features = batch(self.CORNER[None], (2, 3), [(20, 40)])
        assert propose(features, "center", fraction=0.5) == [[10, 5, 30, 15]]
        assert propose(features, "whole_image") == [[0, 0, 40, 20]]

    def test_dino_seg_reads_the_head_asked_for(self):
        attention = torch.tensor([[[0.9, 0.1, 0.0], [0.0, 0.1, 0.9]]])
        features = batch(torch.zeros(1, 3, 1), (1, 3), [(16, 48)], attention)
        assert propose(features, "dino_seg", head=0) == [[0, 0, 16, 16]]
        assert propose(features, "dino_seg", head=1) == [[32, 0, 48, 16]]

    @pytest.mark.parametrize("head", [2, 5])
    def test_dino_seg_refuses_a_head_that_does_not_exist(self, head):
        features = batch(torch.zeros(1, 3, 1), (1, 3), [(16, 48)], torch.ones(1, 2, 3))
        with pytest.raises(InputError, match=f"head {head} does not exist.* 2 heads"):
            propose(features, "dino_seg", head=head)

    def test_dino_seg_refuses_features_without_attention(self):
        with pytest.raises(InputError, match="no cls_attention"):
            propose(batch(torch.zeros(1, 3, 1), (1, 3), [(16, 48)]), "dino_seg")

    @pytest.mark.parametrize("method", METHODS)
    def test_boxes_lie_within_their_images(self, method):
        generator = torch.Generator().manual_seed(0)
        sizes = np.random.default_rng(0).integers((49, 65), (65, 81), size=(30, 2))
        features = batch(
            torch.randn(30, 20, 12, generator=generator),
            (4, 5),
            sizes,
            torch.rand(30, 6, 20, generator=generator),
            masks=[np.random.default_rng(size[0]).random(size) for size in sizes],
        )
        boxes = propose_boxes(features, method, heuristic_options(method, {}))
        assert boxes.dtype == np.float64
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert (boxes[:, 2:] <= sizes[:, ::-1]).all()


class TestTrainingBoxes:
    def test_are_fractions_of_the_network_s_input(self):
        key = TestBoxes.CORNER[None].requires_grad_()
        boxes = propose_training_boxes(FeatureMaps(key, (2, 3)), "lost", LostOptions())
        torch.testing.assert_close(boxes, torch.tensor([[2 / 3, 1 / 2, 1.0, 1.0]]))
        assert not boxes.requires_grad

    def test_equal_those_of_the_image_s_features(self):
        """Where nothing is padded, both ways give the same box in pixels."""
        key = torch.randn(10, 20, 8, generator=torch.Generator().manual_seed(5))
        in_pixels = propose_boxes(batch(key, (4, 5), [(64, 80)] * 10), "lost", LostOptions(9))
        fractions = propose_training_boxes(FeatureMaps(key, (4, 5)), "lost", LostOptions(9))
        # Pixel values are integers below 128, so float32 fractions are good to 1e-5 of a pixel.
        np.testing.assert_allclose(fractions * torch.tensor([80, 64, 80, 64]), in_pixels, atol=1e-4)
