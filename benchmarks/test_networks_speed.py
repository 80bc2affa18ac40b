"""A vision transformer and CAD on one CPU thread: images a second beside what arithmetic allows,
and what is saved by not computing what nothing reads. `make bench` prints it.

CPU seconds, not those of the clock: other work on the machine then changes little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch
from in_turns import median_seconds_in_turns
from torch import nn

from bbr.backbones.base import Backbone
from bbr.backbones.build import load_backbone
from bbr.backbones.feature_maps import EXTRAS
from bbr.cad.parts import DepthwiseConv

pytestmark = pytest.mark.bench

SIDES = (168, 224, 518)
GEMM = 2048
READ = ("cls_attention",)  # what features.h5 keeps besides keys


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


def seconds(ways: list[Callable[[], object]], repeats: int = 3) -> list[float]:
    """Median CPU seconds of each way, in turns."""
    return median_seconds_in_turns(ways, repeats, time.process_time)


def gemm_rate() -> float:
    """Operations a second of one large product of matrices, the most that torch reaches here."""
    left, right = torch.randn(GEMM, GEMM), torch.randn(GEMM, GEMM)
    return 2 * GEMM**3 / seconds([lambda: left @ right])[0]


def operations(backbone: Backbone, side: int) -> float:
    """Of the products of matrices that an image needs, where features.h5 alone is wanted: all
    blocks but the last, of which queries, keys and values, and keys once more without bias."""
    patches, d = (side // backbone.stride) ** 2, backbone.dim
    tokens = patches + 1
    block = 24 * tokens * d**2 + 4 * tokens**2 * d
    embedding = 2 * patches * 3 * backbone.stride**2 * d
    return embedding + (backbone.depth - 1) * block + (6 + 2) * tokens * d**2


@torch.inference_mode()
def test_vision_transformer() -> None:
    backbone = load_backbone("dinov2_vits14")
    limit = gemm_rate()
    print(f"\nproducts of {GEMM} x {GEMM}: {limit / 1e9:.0f} GFLOP/s")
    print("| pixels | images at once | images/s, all maps | what is kept | limit | share, % |")
    print("| --: | --: | --: | --: | --: | --: |")
    for side in SIDES:
        count = max(1, 16 * 168**2 // side**2)
        pixels = torch.randn(count, 3, side, side)
        whole, kept = seconds(
            [
                lambda pixels=pixels: backbone(pixels, EXTRAS),
                lambda pixels=pixels: backbone(pixels, READ),
            ]
        )
        most = limit / operations(backbone, side)
        rates = [f"{rate:.1f}" for rate in (count / whole, count / kept, most)]
        share = 100 * count / kept / most
        print(f"| {side} | {count} | {' | '.join(rates)} | {share:.0f} |")
        assert kept < 1.1 * whole


@torch.inference_mode()
def test_bfloat16() -> None:
    """Faster where the CPU has AMX, and many times slower where it has to be emulated."""
    backbone, pixels = load_backbone("dinov2_vits14"), torch.randn(2, 3, 168, 168)

    def rounded() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            backbone(pixels, READ)

    full, half = seconds([lambda: backbone(pixels, READ), rounded], repeats=1)
    print(f"\nbf16 on a CPU of {torch.backends.cpu.get_cpu_capability()},", end=" ")
    print("with AMX:" if torch.cpu._is_amx_tile_supported() else "without AMX:", end=" ")
    print(f"{2 / half:.1f} images/s of 168 pixels, fp32 {2 / full:.1f}")


def test_keys_alone_against_all_maps() -> None:
    """A step of f^h, the last 2 of 12 blocks, forwards and backwards."""
    backbone = load_backbone("dinov2_vits14").requires_grad_(False)
    backbone.trainable(2).requires_grad_(True)
    state = torch.randn(24, 145, backbone.dim)

    def step(extras: tuple[str, ...] | frozenset[str]) -> Callable[[], None]:
        return lambda: backbone.trainable_forward(state, 2, (12, 12), extras).key.sum().backward()

    whole, keys = seconds([step(EXTRAS), step(())])
    print(f"\na step of f^h: {1e3 * whole:.0f} ms with all maps, {1e3 * keys:.0f} with keys alone")
    print(f"times as fast: {whole / keys:.1f}")
    assert whole > 1.1 * keys


@pytest.mark.parametrize("kernel", [3, 5])
def test_depthwise_kernels_on_small_maps(kernel: int) -> None:
    """CAD's head on 128 regions of 2 x 2 cells, forwards and backwards."""
    conv = nn.Conv2d(672, 672, kernel, padding=kernel // 2, groups=672, bias=False)
    conv.to(memory_format=torch.channels_last)
    maps = torch.randn(128, 672, 2, 2).to(memory_format=torch.channels_last).requires_grad_()

    def step(module: nn.Module) -> Callable[[], None]:
        return lambda: module(maps).sum().backward()

    usual, small = seconds([step(conv), step(DepthwiseConv(conv))])
    print(f"\n{kernel} x {kernel} on 2 x 2: torch {1e3 * usual:.1f} ms, taps that meet the map")
    print(f"{1e3 * small:.1f} ms; times as fast: {usual / small:.1f}")
    assert usual > 2 * small
