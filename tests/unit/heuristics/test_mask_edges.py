"""Masks whose edges follow the image."""

from __future__ import annotations

import numpy as np

from bbr.heuristics.mask_edges import follow_edges


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def _disc(size: int = 120, radius: int = 37) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (y - 61) ** 2 + (x - 55) ** 2 <= radius**2


def _in_cells(mask: np.ndarray, side: int) -> np.ndarray:
    """The mask as cells of this side, each the value at its middle."""
    return np.kron(mask[side // 2 :: side, side // 2 :: side], np.ones((side, side), bool))


def test_a_disc_made_of_cells_becomes_round_again() -> None:
    disc = _disc()
    pixels = np.where(disc[..., None], (200, 60, 30), (40, 90, 160)).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 5, pixels.shape)
    pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    coarse = _in_cells(disc, 12)
    assert _iou(coarse, disc) < 0.9
    assert _iou(follow_edges(coarse, pixels, 12), disc) > 0.97


def test_where_the_image_has_no_edges_the_mask_is_only_smoothed() -> None:
    coarse = _in_cells(_disc(), 12)
    smooth = follow_edges(coarse, np.full((120, 120, 3), 128, np.uint8), 12)
    # A mean over windows, twice: corners go.
    assert 0.8 < smooth.sum() / coarse.sum() < 1


def test_a_mask_of_which_nothing_would_be_left_stays() -> None:
    mask = np.zeros((60, 60), bool)
    mask[30, 30] = True
    assert (follow_edges(mask, np.full((60, 60, 3), 9, np.uint8), 10) == mask).all()


def test_specks_of_like_colour_are_left_out() -> None:
    pixels = np.full((120, 120, 3), 90, np.uint8)
    disc = _disc()
    pixels[disc] = 200
    mask = _in_cells(disc, 12)
    pixels[96:104, 96:104] = 200  # another bright spot, partly under a cell of the mask
    mask[96:108, 96:108] = True
    found = follow_edges(mask, pixels, 12)
    assert not found[90:, 94:].any()
    assert _iou(found, disc) > 0.95
