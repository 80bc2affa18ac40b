"""Segment Anything (Kirillov et al. 2023): the mask of the object in a box."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import SamImageProcessorPil, SamModel, SamProcessor

from ..data.loading import chunks
from .folders import load_parts


class Sam(nn.Module):
    """SAM, in evaluation mode, asked with one box and for one mask, as for boxes it advises."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.model, images = load_parts(folder, ("sam",), SamModel, SamImageProcessorPil)
        self.processor = SamProcessor(images)

    @torch.no_grad()
    def segment(
        self, pixels: np.ndarray, boxes: list[list[float]], batch_size: int
    ) -> Iterator[np.ndarray]:
        """The mask of each box, (H, W) bool of the image's size.

        Args:
            pixels: (H, W, 3) uint8.
            boxes: xyxy in pixels, at least one.
            batch_size: boxes at once; it bounds memory.
        """
        seen = self.processor(
            images=Image.fromarray(pixels), input_boxes=[boxes], return_tensors="pt"
        )
        device = self.model.device
        embedded = self.model.get_image_embeddings(seen["pixel_values"].to(device))
        for some in chunks(seen["input_boxes"][0].float(), batch_size):
            masks = self.model(
                image_embeddings=embedded,
                input_boxes=torch.stack(some)[None].to(device),
                multimask_output=False,
            ).pred_masks
            # One by one: they are of the image's size, however large, from here on.
            for mask in masks[0].float():
                (whole,) = self.processor.image_processor.post_process_masks(
                    mask[None, None], seen["original_sizes"], seen["reshaped_input_sizes"]
                )
                yield whole[0, 0].cpu().numpy()
