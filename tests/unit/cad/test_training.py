"""Batch norms of CAD in training: averaged at the end, and shared by several GPUs."""

import copy
from types import SimpleNamespace

import pytest
import torch
from small_cad import batch, small_cad
from torch import nn

from bbr.cad.training import averaged_norms, synchronize_norms


def test_statistics_are_the_mean_of_batches_as_precise_bn_has_it():
    """Detectron2 at the time: momentum 1, and the running mean of what each batch leaves."""
    network = small_cad().train()
    slow = copy.deepcopy(network)
    batches = [network.see(*batch(count)) for count in (2, 3, 2)]
    with torch.no_grad(), averaged_norms(network, 3):
        for number, seen in enumerate(batches):
            torch.manual_seed(number)
            network(seen)
    norms = [m for m in slow.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    means = [torch.zeros_like(norm.running_mean) for norm in norms]
    variances = [torch.zeros_like(norm.running_var) for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    for number, seen in enumerate(batches):
        torch.manual_seed(number)
        with torch.no_grad():
            slow(seen)
        for norm, mean, variance in zip(norms, means, variances, strict=True):
            mean += (norm.running_mean - mean) / (number + 1)
            variance += (norm.running_var - variance) / (number + 1)
    found = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    assert {norm.momentum for norm in found} == {small_cad().roi_heads.box_head.norm.momentum}
    for norm, mean, variance in zip(found, means, variances, strict=True):
        torch.testing.assert_close(norm.running_mean, mean)
        torch.testing.assert_close(norm.running_var, variance)
    with averaged_norms(network, 0):
        assert all(bool(norm.running_var.ne(1).any()) for norm in found)


def test_trained_norms_are_synchronized_between_gpus():
    network = small_cad()
    names = list(network.state_dict())
    fabric = SimpleNamespace(world_size=2, device=torch.device("cuda"))
    synchronize_norms(network, fabric)
    assert list(network.state_dict()) == names
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            frozen = name.startswith(("levels.0", "levels.1"))
            assert isinstance(module, nn.SyncBatchNorm) != frozen, name
    # timm's norms hold their activation, which the change must not lose.
    assert isinstance(network.levels[2].blocks_2[0].bn1.act, nn.ReLU6)


@pytest.mark.parametrize(("world_size", "device"), [(1, "cuda"), (2, "cpu")])
def test_norms_elsewhere_stay(world_size, device):
    network = small_cad()
    synchronize_norms(network, SimpleNamespace(world_size=world_size, device=torch.device(device)))
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())
