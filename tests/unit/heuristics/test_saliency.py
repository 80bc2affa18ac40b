"""Maps of heuristics, patch by patch."""

import numpy as np
import pytest
import torch

from bbr.backbones.feature_maps import FeatureMaps
from bbr.errors import InputError
from bbr.heuristics.registry import heuristic_options
from bbr.heuristics.saliency import _MAPS, IMAGE, method_maps


def batch(key, attention=None, grid=(2, 2)):
    sizes = np.array([[16, 16]] * len(key))
    return FeatureMaps(key, grid, attention, image_sizes=sizes, patch_size=8.0)


def test_lost_shows_the_inverse_degree():
    """The first two patches are alike, the third is like all of them, the fourth like itself."""
    key = torch.tensor([[[1.0, 0.0], [1.0, 0.1], [1.0, 9.0], [-1.0, -9.0]]])
    (found,) = method_maps(batch(key), "lost", heuristic_options("lost", {}))
    np.testing.assert_allclose(found.values, [[1 / 3, 1 / 3], [1 / 3, 1]])


def test_patches_like_none_have_no_infinite_value():
    (found,) = method_maps(batch(torch.zeros(1, 4, 2)), "lost", heuristic_options("lost", {}))
    np.testing.assert_array_equal(found.values, np.ones((2, 2)))


def test_dino_seg_shows_the_attention_of_its_head():
    attention = torch.arange(8.0).view(1, 2, 4)
    options = heuristic_options("dino_seg", {"head": 1})
    (found,) = method_maps(batch(torch.zeros(1, 4, 2), attention), "dino_seg", options)
    np.testing.assert_array_equal(found.values, [[4, 5], [6, 7]])


def test_maps_of_patches_cover_the_padding_and_maps_of_pixels_the_image(monkeypatch):
    pixels = np.zeros((13, 9))
    monkeypatch.setitem(_MAPS, "lost", (lambda batch, _: [pixels] * len(batch.key), IMAGE))
    sizes = {}
    for method in ("lost", "dino_seg"):
        images = batch(torch.zeros(2, 4, 2), torch.zeros(2, 9, 4))
        images.image_sizes[:] = 13, 9
        made = method_maps(images, method, heuristic_options(method, {}))
        sizes[method] = [found.covered for found in made]
    assert sizes == {"lost": [(13, 9)] * 2, "dino_seg": [(16, 16)] * 2}


@pytest.mark.parametrize(
    ("method", "message"), [("center", "center has no map"), ("dino_seg", "no cls_attention")]
)
def test_nothing_to_show(method, message):
    with pytest.raises(InputError, match=message):
        method_maps(batch(torch.zeros(1, 4, 2)), method, heuristic_options(method, {}))
