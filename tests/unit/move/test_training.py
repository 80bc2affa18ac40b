"""The training of MOVE's segmenter: its head, and who judges it."""

import pytest
import torch
from tiny_vit import TINY_VIT

from bbr.backbones.base import BackboneSpec, SegmenterSpec
from bbr.backbones.build import build_backbone
from bbr.backbones.cnn import ConvolutionalBackbone
from bbr.errors import InputError
from bbr.move.training import Discriminator, Head


def tiny_backbone():
    torch.manual_seed(0)
    return build_backbone(BackboneSpec("vit_tiny_patch16_224", TINY_VIT)).eval()


def test_masks_are_of_pixels_unless_they_are_told():
    """Patches of 16 pixels are four doublings away from pixels."""
    assert Head().on(tiny_backbone(), "random").spec.segmenter == SegmenterSpec(4, 128)
    coarse = Head(upsamplings=1, min_width=8).on(tiny_backbone(), "random")
    assert coarse.spec.segmenter == SegmenterSpec(1, 8)


def test_a_packaged_f_is_named():
    spec = Head(min_width=8).on(tiny_backbone(), "dinov2_vits14").spec.segmenter
    assert spec == SegmenterSpec(4, 8, "dinov2_vits14")


def test_a_judge_is_convolutional():
    assert isinstance(Discriminator("random", "resnet18").load(), ConvolutionalBackbone)
    with pytest.raises(InputError, match="give a convolutional network"):
        Discriminator("random", "vit_tiny_patch16_224").load()
