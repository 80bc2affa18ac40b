"""f as a convolutional network, read at one feature map."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from timm.models import FeatureListNet
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features
from torch import Tensor, nn

from ..errors import InputError
from .base import Backbone, BackboneSpec
from .feature_maps import EXTRAS, FeatureMaps


class ConvolutionalBackbone(Backbone):
    """Any timm network with `features_only`, read at its last feature map."""

    plane_blocks = 0  # a mask head reads that map too

    def __init__(self, spec: BackboneSpec, network: Any) -> None:
        super().__init__(spec)
        if (spec.facet, spec.block) != ("key", -1):
            raise InputError(
                f"facet {spec.facet}, block {spec.block}: {spec.architecture} is convolutional and"
                " has one map; leave both out"
            )
        # Depthwise convolutions run about twice as fast on this layout.
        self.network = network.to(memory_format=torch.channels_last)
        self.stride = network.feature_info.reduction()[-1]
        self.dim = self.plane_channels = network.feature_info.channels()[-1]

    @property
    def depth(self) -> int:
        """Number of stages, each stem layer one of them."""
        return len(self._stages())

    def frozen_forward(self, pixels: Tensor, last: int) -> Tensor:
        """See `Backbone.frozen_forward`: a feature map (B, C, H, W)."""
        plane = pixels.contiguous(memory_format=torch.channels_last)
        for stage in self._stages()[: self.depth - last]:
            plane = stage(plane)
        return plane

    def trainable_forward(
        self, state: Tensor, last: int, grid: tuple[int, int], extras: Collection[str] = EXTRAS
    ) -> FeatureMaps:
        """See `Backbone.trainable_forward`; `extras` make no difference."""
        plane = state
        for stage in self._stages()[self.depth - last :]:
            plane = stage(plane)
        if plane.shape[1:] != (self.dim, *grid):
            raise InputError(
                f"architecture {self.spec.architecture} gives a map of {tuple(plane.shape[1:])},"
                f" not {(self.dim, *grid)}; choose one whose layers pad their input"
            )
        patches = plane.flatten(2).transpose(1, 2)
        return FeatureMaps(
            key=self._normalize(patches),
            query=None,
            value=None,
            cls_attention=None,
            tokens=torch.cat((patches.mean(dim=1, keepdim=True), patches), dim=1),
            grid=grid,
        )

    def trainable(self, last: int) -> nn.ModuleList:
        """See `Backbone.trainable`."""
        return nn.ModuleList(self._stages()[self.depth - last :])

    def pyramid(self, pixels: Tensor) -> list[Tensor]:
        """The last map of each resolution, finest first, from a quarter of the input's on."""
        maps: list[Tensor] = []
        plane = pixels.contiguous(memory_format=torch.channels_last)
        for stage in self._stages():
            plane = stage(plane)
            if maps and maps[-1].shape[-1] == plane.shape[-1]:
                maps.pop()
            maps.append(plane)
        return [plane for plane in maps if 4 * plane.shape[-1] <= pixels.shape[-1]]

    def plane(self, state: Tensor, grid: tuple[int, int]) -> Tensor:
        """See `Backbone.plane`."""
        return state.permute(0, 2, 3, 1)

    def _stages(self) -> list[nn.Module]:
        """The chain of modules up to the feature map.

        Of timm's feature networks, one class is just this chain; two run more than is wanted,
        and are followed through their children; any other is taken as a single stage.
        """
        network = self.network
        chains = (FeatureListNet, EfficientNetFeatures, MobileNetV3Features)
        if not isinstance(network, chains):
            return [_LastMap(network)]
        chain = [
            stage
            for child in network.children()
            for stage in (child if type(child) is nn.Sequential else [child])
        ]
        if isinstance(network, FeatureListNet):
            return chain
        end = network.get_submodule(network.feature_info.module_name()[-1])
        ends = (end, *end.children())
        length = max(i for i, stage in enumerate(chain, 1) if any(stage is e for e in ends))
        return chain[:length]


class _LastMap(nn.Module):
    """A timm feature network as one stage, which gives the last of its maps."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        return self.network(pixels)[-1]
