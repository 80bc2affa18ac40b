"""From JPEG files to features.h5 beside a network that takes as long as on a GPU: `make bench`.

The network is replaced by a wait of the time that it took on an H200 (docs/performance.md), with
the GPU's part of `prepare` and of rounding left out, so that what is measured is what the CPU does
beside it: decoding, copying, checking, writing. Seconds of the clock, all ways in turns.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from in_turns import median_seconds_in_turns
from torch import Tensor

from bbr.backbones.base import Backbone, BackboneSpec
from bbr.backbones.extraction import Found, features_of_pixels
from bbr.backbones.feature_maps import FeatureMaps
from bbr.backbones.features_h5 import FeatureWriter, create_features
from bbr.backbones.native_extraction import NativeImage, NativeImages, while_writing
from bbr.command_line.cli import thread_count
from bbr.data.index import Index
from bbr.data.loading import native_size_windows, to_tensor

pytestmark = pytest.mark.bench

FILES, COUNT, WINDOW, BATCH = 64, 1024, 64, 32
HEIGHT, WIDTH, STRIDE = 375, 500, 16
DIM, HEADS = 384, 6
NETWORK = {"fp32": 1 / 741, "bf16": 1 / 3291}  # seconds an image, ViT-S/16 on an H200


class Waiting(Backbone):
    """In the place of a network on a GPU: takes its time, and no CPU."""

    stride, dim, heads = STRIDE, DIM, HEADS

    def __init__(self, seconds: float) -> None:
        super().__init__(BackboneSpec("waiting"))
        self.seconds = seconds
        rows, columns = self.grid_of(HEIGHT, WIDTH)
        self.key = torch.randn(BATCH, rows * columns, DIM).half()
        self.attention = torch.rand(BATCH, HEADS, rows * columns).half()

    def prepare(self, images: Tensor) -> Tensor:
        """An image's bytes are copied, as to a GPU, which then does the rest."""
        images.clone()
        rows, columns = self.grid_of(*images.shape[-2:])
        return torch.empty(1, 3, rows * STRIDE, columns * STRIDE, device="meta")

    def forward(self, pixels: Tensor, extras: object = ()) -> FeatureMaps:
        """Maps that a GPU has rounded already, copied as from it."""
        count = len(pixels)
        time.sleep(self.seconds * count)
        key, attention = self.key[:count].clone(), self.attention[:count].clone()
        return FeatureMaps(key, self.grid_of(HEIGHT, WIDTH), cls_attention=attention)


@pytest.fixture
def photographs(tmp_path: Path) -> Index:
    """JPEG files of the size of VOC's, each with smooth and with rough parts, and listed often."""
    generator = np.random.default_rng(0)
    for number in range(FILES):
        coarse = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        pixels = cv2.add(pixels, generator.integers(0, 12, pixels.shape, dtype=np.uint8))
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])
    images = [
        {"id": i, "file_name": f"{i % FILES}.jpg", "width": WIDTH, "height": HEIGHT}
        for i in range(COUNT)
    ]
    return Index(images, [], [], {"image_root": "."}, tmp_path / "index.json")


def read_all(index: Index) -> None:
    """Decoding alone, as the stage does it."""
    for _ in native_size_windows(index, index.images, WINDOW):
        pass


def stage(index: Index, network: Waiting) -> None:
    """What extract_features.py does."""
    source = NativeImages(index, index.images, network, 0)
    observe = partial(
        features_of_pixels,
        backbone=network,
        at_once=lambda rows, columns: BATCH,
        precision="fp32",
        dtype="float16",
    )
    with _file(index) as writer:
        while_writing(source.windows(WINDOW), COUNT, observe, lambda found: writer.append(*found))


def writing(index: Index, found: list[Found]) -> None:
    """Writing alone, by one thread as in the stage."""
    with _file(index) as writer:
        for number in range(COUNT):
            writer.append(number, *found[number % BATCH][1:])


def one_by_one(index: Index, network: Waiting) -> None:
    """The straightforward way: read an image, wait for the network, write; then the next."""
    with _file(index) as writer:
        for ((image, pixels),) in native_size_windows(index, index.images, 1):
            assert isinstance(pixels, np.ndarray)
            maps = network(network.prepare(to_tensor(pixels)[None]))
            attention = maps.cls_attention
            assert attention is not None
            writer.append(image["id"], pixels.shape[:2], maps.grid, maps.key[0], attention[0])


def _file(index: Index) -> AbstractContextManager[FeatureWriter]:
    return create_features(
        index.path.parent / "features.h5",
        backbone="waiting",
        patch_size=STRIDE,
        dim=DIM,
        heads=HEADS,
        dtype="float16",
        provenance={},
    )


@pytest.mark.parametrize("precision", NETWORK)
def test_jpeg_files_to_features(photographs: Index, precision: str) -> None:
    network = Waiting(NETWORK[precision])
    pixels = network.prepare(torch.empty(1, 3, HEIGHT, WIDTH, dtype=torch.uint8))
    images = [NativeImage(number, (HEIGHT, WIDTH), pixels, "") for number in range(BATCH)]
    found = features_of_pixels(images, network, lambda rows, columns: BATCH, "fp32", "float16")
    ways = [
        partial(read_all, photographs),
        partial(writing, photographs, found),
        partial(stage, photographs, network),
        partial(one_by_one, photographs, network),
    ]
    taken = median_seconds_in_turns(ways, repeats=2)
    decoded, written, whole, slow = (COUNT / seconds for seconds in taken)
    limit = min(decoded, 1 / NETWORK[precision])
    print(f"\nimages/s on {thread_count()} threads, a network of {1 / NETWORK[precision]:.0f}:")
    print(f"decoding alone {decoded:.0f}, writing alone {written:.0f}, the stage {whole:.0f},")
    print(f"{100 * whole / limit:.0f} % of the smaller of decoding and network;", end=" ")
    print(f"one image after the other {slow:.0f}; times as fast: {whole / slow:.1f}")
    assert whole > slow
