"""Networks for upper bounds on an image that is no square, against transformers used by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SamImageProcessorPil, SamModel, SamProcessor
from upper_bound_data import WRITERS, literal_best, write_sam

from bbr.upper_bounds.grounding_dino import as_caption
from bbr.upper_bounds.registry import NETWORKS, load_phrase_detector
from bbr.upper_bounds.sam import Sam

WIDE = np.random.default_rng(0).integers(0, 255, (40, 90, 3)).astype(np.uint8)
TEXTS = ["a red mug", "the dog", "a dog that is longer than what any of these networks reads of it"]


def test_each_network_has_a_tiny_one() -> None:
    assert set(NETWORKS) == set(WRITERS)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_best_box_of_each_text(tmp_path: Path, network: str) -> None:
    WRITERS[network](tmp_path)
    boxes, scores = load_phrase_detector(network, tmp_path).detect(WIDE, TEXTS, batch_size=2)
    for text, box, score in zip(TEXTS, boxes, scores, strict=True):
        expected, corners = literal_best(tmp_path, network, WIDE, text)
        assert score == pytest.approx(expected, abs=1e-5)
        assert box == pytest.approx(np.clip(corners, 0, [90, 40, 90, 40]), abs=2e-3)
    assert (boxes <= [90, 40, 90, 40]).all()
    assert len(set(scores.tolist())) == len(TEXTS)


def test_a_phrase_as_one_caption() -> None:
    assert as_caption("A red mug") == "a red mug."
    assert as_caption(" St. Bernard. ") == "st bernard."


def test_masks_of_boxes(tmp_path: Path) -> None:
    boxes = [[10.0, 5.0, 60.0, 30.0], [0.0, 0.0, 90.0, 40.0], [80.0, 30.0, 85.0, 35.0]]
    masks = list(Sam(write_sam(tmp_path)).segment(WIDE, boxes, batch_size=2))
    model = SamModel.from_pretrained(tmp_path).eval()
    processor = SamProcessor(SamImageProcessorPil.from_pretrained(tmp_path))
    inputs = processor(images=WIDE, input_boxes=[boxes], return_tensors="pt")
    inputs["input_boxes"] = inputs["input_boxes"].float()
    with torch.no_grad():
        outputs = model(**inputs, multimask_output=False)
    (expected,) = processor.image_processor.post_process_masks(
        outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )
    assert len(masks) == 3
    for mask, whole in zip(masks, expected[:, 0].numpy(), strict=True):
        assert mask.shape == (40, 90)
        assert 0 < mask.mean() < 1
        assert (mask != whole).mean() < 0.002
    assert (masks[0] != masks[2]).any()
