"""Boxes between pixels and fractions of the image."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_convert, clip_boxes_to_image

from bbr.data.box_ops import (
    clip_boxes,
    denormalize_boxes,
    normalize_boxes,
    to_cxcywh,
    to_xywh,
    to_xyxy,
)

pixels = st.integers(0, 2000)


def test_normalize_by_hand():
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    expected = torch.tensor([[20 / 200, 40 / 100, 20 / 200, 40 / 100]])
    torch.testing.assert_close(normalize_boxes(boxes, (100, 200)), expected)


def test_whole_image_is_centred_and_of_unit_size():
    whole = torch.tensor([0.0, 0.0, 640.0, 480.0])
    torch.testing.assert_close(
        normalize_boxes(whole, (480, 640)), torch.tensor([0.5, 0.5, 1.0, 1.0])
    )


def test_batch_of_sizes_equals_one_by_one():
    boxes = torch.rand(3, 5, 4) * 100
    sizes = torch.tensor([[100, 200], [50, 60], [300, 20]])
    together = normalize_boxes(boxes, sizes[:, None])
    for i in range(3):
        torch.testing.assert_close(together[i], normalize_boxes(boxes[i], sizes[i]))


@pytest.mark.parametrize("convert", [normalize_boxes, denormalize_boxes])
def test_no_boxes(convert):
    assert convert(torch.zeros(0, 4), (10, 20)).shape == (0, 4)


@given(st.tuples(pixels, pixels, pixels, pixels), st.integers(1, 2000), st.integers(1, 2000))
def test_round_trip(corners, height, width):
    x1, y1, dx, dy = corners
    box = torch.tensor([x1, y1, x1 + dx, y1 + dy], dtype=torch.float64)
    there_and_back = denormalize_boxes(normalize_boxes(box, (height, width)), (height, width))
    torch.testing.assert_close(there_and_back, box, atol=1e-8, rtol=1e-12)


@given(st.tuples(pixels, pixels, pixels, pixels))
def test_layouts_are_those_of_torchvision(corners):
    x1, y1, dx, dy = corners
    box = torch.tensor([[x1, y1, x1 + dx, y1 + dy]], dtype=torch.float32)
    assert torch.equal(to_cxcywh(box), box_convert(box, "xyxy", "cxcywh"))
    assert torch.equal(to_xyxy(box), box_convert(box, "cxcywh", "xyxy"))
    assert torch.equal(to_xywh(box), box_convert(box, "xyxy", "xywh"))
    assert torch.equal(clip_boxes(box, (480, 640)), clip_boxes_to_image(box, (480, 640)))
