"""Devices, arithmetic and seeds of the stages that run networks."""

from __future__ import annotations

import random

import numpy as np
import torch

from ..errors import InputError


def choose_device(name: str) -> torch.device:
    """The torch device of `auto`, `cpu` or `cuda`.

    Raises:
        InputError: `cuda` was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("--device cuda: no CUDA device is visible; use --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and available else "cpu")


def device_name(device: torch.device) -> str:
    """What provenance says of a device: `cpu` or the GPU's model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def fast_precision(device: str) -> str:
    """`bf16` where a device, named as by `choose_device`, multiplies matrices in it; else `fp32`.

    NVIDIA's GPUs do since Ampere, and CPUs with AMX, as they say themselves; where torch does not
    hand that on, a CPU gets `fp32`. AVX-512's instructions for bfloat16 do not count: with them
    alone ViT-S/14 took a third longer than in float32.

    Raises:
        InputError: as `choose_device`.
    """
    if choose_device(device).type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Not in every torch that this runs on.
        capabilities = getattr(torch.cpu, "get_capabilities", dict[str, bool])
        able = capabilities().get("amx_bf16", False)
    return "bf16" if able else "fp32"


def allow_tf32(device_type: str, precision: str) -> None:
    """Let a GPU multiply matrices of float32 in TF32 from now on, or not, as --precision asks for.

    Its convolutions do so in any case, which is torch's default.
    """
    if device_type == "cuda":
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The arithmetic that --precision asks for, as a context manager."""
    allow_tf32(device.type, precision)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
