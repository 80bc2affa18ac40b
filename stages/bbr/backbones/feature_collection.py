"""Several features files, the shards of one collection of images, read as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .feature_maps import FeatureMaps
from .features_h5 import FeatureFile


class FeatureCollection:
    """The images of all files, in the order of the files; use as a context manager.

    Raises:
        InputError: a file is damaged, an image is in two of them, or they are not of one backbone.
    """

    def __init__(self, paths: Sequence[Path | str]) -> None:
        with ExitStack() as stack:
            self.files = [stack.enter_context(FeatureFile(path)) for path in paths]
            self._check()
            self._close = stack.pop_all()

    def __enter__(self) -> FeatureCollection:
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()

    def _check(self) -> None:
        first = self.files[0]
        seen: set[int] = set()
        for file in self.files:
            if (file.dim, file.patch_size) != (first.dim, first.patch_size):
                raise InputError(
                    f"features {file.path}: {file.dim} channels and patches of {file.patch_size}"
                    f" pixels, {first.path} has {first.dim} and {first.patch_size}; name shards of"
                    " one backbone"
                )
            ids = set(file.image_id.tolist())
            if twice := seen & ids:
                raise InputError(
                    f"features {file.path}: image {min(twice)} is also in another of the files;"
                    " name each shard once"
                )
            seen |= ids

    @property
    def image_ids(self) -> list[int]:
        """All image ids, in order."""
        return [i for file in self.files for i in file.image_id.tolist()]

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """The images that could not be read."""
        return [entry for file in self.files for entry in file.skipped]

    def grids(self) -> dict[int, tuple[int, int]]:
        """Patch rows and columns of each image, by its id."""
        return {
            image_id: (rows, columns)
            for file in self.files
            for image_id, (rows, columns) in zip(
                file.image_id.tolist(), file.grid.tolist(), strict=True
            )
        }

    def enlarge(self, boxes: dict[int, Any]) -> dict[int, Any]:
        """See `FeatureFile.enlarge`; of all images, or some."""
        found: dict[int, Any] = {}
        for file in self.files:
            ids = set(file.image_id.tolist())
            found |= file.enlarge({i: box for i, box in boxes.items() if i in ids})
        return found

    def batches(self, size: int, device: torch.device | str = "cpu") -> Iterator[FeatureMaps]:
        """Every image once, in batches of one grid; see `FeatureFile.batches`."""
        for file in self.files:
            yield from file.batches(size, device)

    def moments(self, size: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Mean (d,) and covariance (d, d) of all patch descriptors, float64, on the CPU.

        Time O(T d²) for T patches; memory O(d²) besides one window of images.
        """
        count, total = 0, torch.zeros(self.files[0].dim, dtype=torch.float64)
        products = torch.zeros(len(total), len(total), dtype=torch.float64)
        for batch in self.batches(size, device):
            rows = batch.key.flatten(0, 1).double()
            count += len(rows)
            total += rows.sum(dim=0).cpu()
            products += (rows.T @ rows).cpu()
        mean = total / max(count, 1)
        return mean, products / max(count, 1) - torch.outer(mean, mean)
