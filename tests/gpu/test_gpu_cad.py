"""CAD on the GPU: one step against the CPU's, synchronised norms, and NCCL.

`train_cad.py --devices 1` makes neither process group nor synchronised norms, and a norm of a
single process does not synchronise anything. What can be tried on one GPU is: that the norms are
converted, that the converted network computes the same, and that its gradients pass through NCCL.
"""

import copy
from types import SimpleNamespace

import pytest
import torch
from gpu_device import DEVICE, ON_GPU, SAME_FLOAT32, apart, full_float32
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from bbr.cad.network import build_cad
from bbr.cad.options import CadSpec, CadTraining
from bbr.cad.training import synchronize_norms

pytestmark = ON_GPU

SPEC = CadSpec("tf_efficientnet_lite0", 2, frozen_levels=1, roi_size=4, anchor_sizes=(16,))
# More than there are: of fewer, torchvision draws a sample, with another generator on a GPU.
ALL = CadTraining((64,), train_proposals=(4000, 4000), rpn_batch=10**6, roi_batch=10**6)


def network():
    torch.manual_seed(0)
    return build_cad(SPEC, None, ALL).train()


def see(model, device):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 64, 80), dtype=torch.uint8, generator=generator)
    boxes = [torch.tensor([[10.0, 8.0, 50.0, 40.0]]), torch.tensor([[20.0, 20.0, 60.0, 60.0]])]
    return model.see([i.to(device) for i in images], [b.to(device) for b in boxes])


def step(model, seen):
    losses = model(seen)
    losses["total"].backward()
    slopes = [p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None]
    return {name: loss.item() for name, loss in losses.items()}, torch.cat(slopes)


def test_a_step():
    here = network()
    there = copy.deepcopy(here).to(DEVICE)
    with full_float32():
        expected, slopes = step(here, see(here, "cpu"))
        found, own = step(there, see(there, DEVICE))
    for name in ("loss_objectness", "loss_rpn_box_reg"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4)
    # Two proposals of almost one score may change places in NMS, and one go in the other's stead.
    for name in ("loss_classifier", "loss_box_reg"):
        assert found[name] == pytest.approx(expected[name], rel=0.02)
    assert apart(slopes, own) < 0.05


def test_a_step_in_bfloat16():
    model = network().to(DEVICE)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        losses, slopes = step(model, see(model, DEVICE))
    assert all(loss == loss and loss >= 0 for loss in losses.values())
    assert torch.isfinite(slopes).all()
    assert slopes.any()


def test_norms_that_are_trained_are_synchronised():
    model = network()
    names = {n for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    synchronize_norms(model, SimpleNamespace(world_size=2, device=torch.device("cuda")))
    changed = {n for n, m in model.named_modules() if isinstance(m, torch.nn.SyncBatchNorm)}
    assert changed
    # Only what is frozen has norms of its own: its statistics do not move.
    assert all(name.startswith("levels.0.") for name in names - changed)


@pytest.fixture
def group():
    """A process group of this process alone."""
    backend = "nccl" if DEVICE == "cuda" else "gloo"
    store = distributed.HashStore()
    distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.skipif(DEVICE != "cuda", reason="torch synchronises norms on GPUs only")
def test_synchronised_norms_compute_the_same(group):
    plain = network().to(DEVICE)
    synchronised = copy.deepcopy(plain)
    synchronize_norms(synchronised, SimpleNamespace(world_size=2, device=torch.device("cuda")))
    with full_float32():
        expected, slopes = step(plain, see(plain, DEVICE))
        found, own = step(synchronised, see(synchronised, DEVICE))
    assert found["total"] == pytest.approx(expected["total"], rel=0.02)
    assert apart(slopes, own) < 0.05


def test_gradients_through_a_process_group(group):
    """All-reduce over one process leaves them as they are; what is frozen takes no part."""
    plain = network().to(DEVICE)
    copied = copy.deepcopy(plain)
    wrapped = DistributedDataParallel(copied, find_unused_parameters=True)
    with full_float32():
        _, expected = step(plain, see(plain, DEVICE))
        wrapped(see(copied, DEVICE))["total"].backward()
    found = torch.cat([p.grad.flatten().cpu() for p in copied.parameters() if p.grad is not None])
    # Atomic additions on a GPU have no fixed order.
    assert apart(expected, found) < 100 * SAME_FLOAT32
