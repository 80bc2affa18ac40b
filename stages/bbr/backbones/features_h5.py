"""Patch features of a dataset on disk: ragged, one row per patch, `features.h5`.

    attributes      schema "bbr-features/1", backbone, patch_size (pixels), provenance (JSON),
                    facet and block (what /key is, `BackboneSpec`; key and -1 where they are not),
                    recipe (see `known_features`, or empty), complete (true, written last)
    /image_id       (n,)       int64
    /image_size     (n, 2)     int32    height, width in pixels, unpadded, as the network saw it
    /full_size      (n, 2)     int32    likewise of the file, where larger images are shrunk
    /content        (n,)       S64      what tells an image from others, where there is a recipe
    /grid           (n, 2)     int32    patch rows, columns
    /offset         (n+1,)     int64    rows of image i are offset[i]:offset[i+1]
    /key            (T, d)     float16 or float32, row-major over each grid
    /cls_attention  (T, heads) likewise, where the backbone has it
    /mask           (P,)       uint8, of a segmenter: foreground of the unpadded image, row-major;
                               128 and above is more than half
    /mask_offset    (n+1,)     int64    as offset, of pixels

Our own files have checksums in every dataset, so that a damaged one is refused.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..command_line.memory import memory_limit
from ..data.loading import groups_of_equal
from ..errors import InputError
from ..storage.hdf5 import CheckedFile, GrowingFile, OutputFile, create_complete
from .feature_maps import FeatureMaps
from .stored_values import stored_mask, to_stored

SCHEMA = "bbr-features/1"
_CHUNK_ROWS = 4096
_KEY_BYTES = 2**30  # of the keys in memory at a time, as float32, at most
_KEY_SHARE = 8  # one part in so many of the memory
_CHUNK_PIXELS = 2**18
_PER_IMAGE = {"image_id": (np.int64, ()), "image_size": (np.int32, (2,)), "grid": (np.int32, (2,))}


class FeatureWriter(GrowingFile):
    """Appends images to an open file; `complete` is set by `create_features` at the very end."""

    def __init__(
        self,
        file: OutputFile,
        dim: int,
        heads: int,
        dtype: str,
        masks: bool = False,
        full_sizes: bool = False,
        contents: bool = False,
    ) -> None:
        super().__init__(file)
        if contents:
            self.create("content", "S64", (), rows=1024)
        if full_sizes:
            self.create("full_size", np.int32, (2,), rows=1024)
        for name, (kind, shape) in _PER_IMAGE.items():
            self.create(name, kind, shape, rows=1024)
        self.create("offset", np.int64, (), rows=1024)
        self.append_rows("offset", np.zeros(1, dtype=np.int64))
        self.create("key", np.dtype(dtype), (dim,), rows=_CHUNK_ROWS)
        if heads:
            self.create("cls_attention", np.dtype(dtype), (heads,), rows=_CHUNK_ROWS)
        if masks:
            self.create("mask_offset", np.int64, (), rows=1024)
            self.append_rows("mask_offset", np.zeros(1, dtype=np.int64))
            # Almost everywhere 0 or 255, masks shrink to a few hundredths.
            self.create("mask", np.uint8, (), rows=_CHUNK_PIXELS, compression="gzip")

    def append(
        self,
        image_id: int,
        image_size: tuple[int, int],
        grid: tuple[int, int],
        key: Tensor,
        cls_attention: Tensor | None,
        mask: Tensor | None = None,
        full_size: tuple[int, int] | None = None,
        content: str = "",
    ) -> None:
        """Add one image: size in pixels (height, width), grid (h, w), key (h·w, d),
        cls_attention (heads, h·w) or None, mask (height, width) in [0, 1] or None; and, where they
        are stored, the size of its file, if None the same, and its content.

        Raises:
            InputError: a value is not finite, or too large for the file's type.
            OSError: a write failed.
        """
        self.append_rows("image_id", np.array([image_id]))
        self.append_rows("image_size", np.array([image_size]))
        self.append_rows("grid", np.array([grid]))
        if self.has("full_size"):
            self.append_rows("full_size", np.array([full_size or image_size]))
        if self.has("content"):
            self.append_rows("content", np.array([content], "S64"))
        dtype = self.dtype("key")
        self.append_rows("key", to_stored(key, dtype, f"key of image {image_id}"))
        if cls_attention is not None:
            what = f"cls_attention of image {image_id}"
            self.append_rows("cls_attention", to_stored(cls_attention.T, dtype, what))
        if mask is not None:
            if not torch.isfinite(mask).all():
                raise InputError(f"mask of image {image_id} is not finite; check the weights")
            self.append_rows("mask", stored_mask(mask).flatten())
            self.append_rows("mask_offset", np.array([self.count("mask")]))
        self.append_rows("offset", np.array([self.count("key")]))


@contextlib.contextmanager
def create_features(
    path: Path | str,
    *,
    backbone: str,
    patch_size: float,
    dim: int,
    heads: int,
    dtype: str,
    provenance: dict[str, Any],
    masks: bool = False,
    full_sizes: bool = False,
    facet: str = "key",
    block: int = -1,
    recipe: str = "",
) -> Iterator[FeatureWriter]:
    """Write a features file; it appears, complete, when the block ends without an exception.

    Args:
        backbone: name of the architecture, for the reader.
        patch_size: side of a patch in image pixels.
        dim: channels d of the key.
        heads: attention heads, 0 where the backbone has no [CLS] attention.
        dtype: `float16` or `float32`, of key and cls_attention.
        masks: whether each image comes with a segmenter's mask.
        full_sizes: whether images may be larger than the network saw them.
        facet, block: what of the backbone the key is, see `BackboneSpec`.
        recipe: see `known_features`; without, nothing is said of what the images hold.
    """
    about = {"backbone": backbone, "patch_size": patch_size, "facet": facet, "block": block}
    if recipe:
        about["recipe"] = recipe
    with (
        create_complete(path, SCHEMA, provenance, **about) as file,
        FeatureWriter(file, dim, heads, dtype, masks, full_sizes, bool(recipe)) as writer,
    ):
        yield writer


class FeatureFile(CheckedFile):
    """A checked features file, open for reading; use as a context manager.

    Raises:
        InputError: not a features file, not complete, or its parts do not fit together.
    """

    role, schema = "features", SCHEMA

    def __len__(self) -> int:
        return len(self.image_id)

    def _check(self, attributes: dict[str, Any]) -> None:
        missing = [n for n in (*_PER_IMAGE, "offset", "key") if n not in self._file]
        if "patch_size" not in attributes:
            missing.append("attribute patch_size")
        if missing:
            raise self._error(f"has no {', '.join(missing)}")
        self.patch_size = float(attributes["patch_size"])
        self.facet = str(attributes.get("facet", "key"))
        self.block = int(attributes.get("block", -1))
        self.recipe = str(attributes.get("recipe", ""))
        self.content: list[str] = self._read("content").astype(str).tolist() if self.recipe else []
        self.skipped: list[dict[str, Any]] = json.loads(attributes.get("skipped", "[]"))
        self.image_id, self.image_size, self.grid, self.offset = (
            self._read(name) for name in ("image_id", "image_size", "grid", "offset")
        )
        full = self._read("full_size") if "full_size" in self._file else self.image_size
        self.full_size: np.ndarray = full
        self.has_attention = "cls_attention" in self._file
        self.dim: int = self._file["key"].shape[-1]
        self.has_masks = "mask" in self._file
        count = len(set(self.image_id.tolist()))
        rows = self.grid.prod(axis=1, dtype=np.int64) if count else np.zeros(0, np.int64)
        consistent = (
            self.image_id.shape == (count,)
            and self.image_size.shape == self.full_size.shape == self.grid.shape == (count, 2)
            and self.patch_size > 0
            and len(self.content) == (count if self.recipe else 0)
            and self.offset.shape == (count + 1,)
            and self.offset[0] == 0
            and (np.diff(self.offset) == rows).all()
            and (rows > 0).all()
            and all(
                self._file[name].ndim == 2 and len(self._file[name]) == self.offset[-1]
                for name in ("key", "cls_attention")[: 1 + self.has_attention]
            )
            and (not self.has_masks or self._masks_fit())
        )
        if not consistent:
            raise self._error(
                "grid, offset and key do not fit together, or an image is there twice; make it"
                " again"
            )

    def _masks_fit(self) -> bool:
        self.mask_offset = self._read("mask_offset")
        pixels = self.image_size.prod(axis=1, dtype=np.int64)
        return (
            self.mask_offset.shape == (len(self.image_id) + 1,)
            and self.mask_offset[0] == 0
            and (np.diff(self.mask_offset) == pixels).all()
            and self._file["mask"].shape == (self.mask_offset[-1],)
        )

    def enlarge(self, boxes: dict[int, Any]) -> dict[int, Any]:
        """Boxes (..., 4) xyxy of images by id, in pixels as seen, in pixels of the whole images."""
        factors = np.tile((self.full_size / self.image_size)[:, ::-1], 2)
        by_id = dict(zip(self.image_id.tolist(), factors, strict=True))
        return {image_id: np.asarray(box) * by_id[image_id] for image_id, box in boxes.items()}

    def batches(
        self,
        size: int,
        device: torch.device | str = "cpu",
        window: int = 256,
        among: range | None = None,
    ) -> Iterator[FeatureMaps]:
        """Every image, in batches of one grid, from windows of at most `window` images in memory.

        Windows and batches are smaller where their keys would take more than `_KEY_BYTES`, or than
        their share of the memory. Within a window the order is by grid; `FeatureMaps.image_ids`
        says which images they are.
        With `among`, only the images at these consecutive positions.
        """
        among = range(len(self)) if among is None else among
        held = min(_KEY_BYTES, memory_limit() // _KEY_SHARE)
        patches = max(1, held // (4 * self.dim))

        def at_once(grid: tuple[int, int]) -> int:
            return max(1, min(size, patches // 4 // (grid[0] * grid[1])))

        for positions in self._windows(among, window, patches):
            first, last = self.offset[positions[0]], self.offset[positions[-1] + 1]
            key = torch.from_numpy(self._read("key", slice(first, last)).astype(np.float32))
            attention = None
            if self.has_attention:
                rows = self._read("cls_attention", slice(first, last)).astype(np.float32)
                attention = torch.from_numpy(rows)
            for group in groups_of_equal(positions, lambda i: tuple(self.grid[i]), at_once):
                yield self._batch(group, first, key, attention, device)

    def _windows(self, among: range, window: int, patches: int) -> Iterator[range]:
        """Consecutive positions of at most so many images and patches; at least one image."""
        start = among.start
        while start < among.stop:
            held = self.offset[start + 1 : among.stop + 1] - self.offset[start]
            fit = int(np.searchsorted(held, patches, side="right"))
            stop = min(start + window, start + max(1, fit), among.stop)
            yield range(start, stop)
            start = stop

    def _batch(
        self,
        positions: list[int],
        first: int,
        key: Tensor,
        attention: Tensor | None,
        device: torch.device | str,
    ) -> FeatureMaps:
        spans = [slice(self.offset[i] - first, self.offset[i + 1] - first) for i in positions]
        height, width = self.grid[positions[0]].tolist()
        return FeatureMaps(
            image_ids=self.image_id[positions].tolist(),
            image_sizes=self.image_size[positions].astype(np.int64),
            grid=(height, width),
            key=torch.stack([key[span] for span in spans]).to(device),
            cls_attention=(
                None
                if attention is None
                else torch.stack([attention[span].T for span in spans]).to(device)
            ),
            patch_size=self.patch_size,
            image_masks=[self._mask(i) for i in positions] if self.has_masks else None,
        )

    def _mask(self, position: int) -> np.ndarray:
        pixels = self._read("mask", slice(*self.mask_offset[position : position + 2].tolist()))
        # 128 is the least that stands for more than a half.
        return pixels.reshape(self.image_size[position]).astype(np.float32) / 255
