"""What --precision sets of torch."""

from collections.abc import Iterator

import pytest
import torch

from bbr.command_line.devices import allow_tf32, autocast, fast_precision
from bbr.command_line.run_options import ComputeOptions
from bbr.errors import InputError


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    usual = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(usual)


@pytest.mark.parametrize(
    ("device", "precision", "products"),
    [
        ("cuda", "tf32", "high"),
        ("cuda", "fp32", "highest"),
        ("cuda", "bf16", "highest"),
        ("cpu", "tf32", "highest"),
    ],
)
def test_products_of_a_gpu_alone_are_in_tf32(device: str, precision: str, products: str) -> None:
    torch.set_float32_matmul_precision("highest")
    allow_tf32(device, precision)
    assert torch.get_float32_matmul_precision() == products


def test_a_later_run_in_fp32_is_not_in_tf32() -> None:
    allow_tf32("cuda", "tf32")
    allow_tf32("cuda", "fp32")
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("precision", "kind"), [("fp32", "float"), ("bf16", "bfloat16")])
def test_autocast_is_for_bf16_alone(precision: str, kind: str) -> None:
    with autocast(torch.device("cpu"), precision):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == getattr(torch, kind)


@pytest.mark.parametrize(("amx", "precision"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_on_a_cpu_with_amx_and_what_is_recorded(
    monkeypatch: pytest.MonkeyPatch, amx: bool, precision: str
) -> None:
    able = {"amx_bf16": amx, "avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    options = ComputeOptions(device="cpu", precision="auto")
    assert options.precision == precision
    assert options.recorded() == {"precision": precision}
    assert ComputeOptions(device="cpu", precision="bf16").precision == "bf16"


def test_auto_without_what_torch_says_of_a_cpu_is_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert fast_precision("cpu") == "fp32"


@pytest.mark.parametrize(("able", "precision"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_what_a_gpu_can(
    monkeypatch: pytest.MonkeyPatch, able: bool, precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    assert fast_precision("auto") == precision


def test_auto_on_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA device is visible"):
        ComputeOptions(device="cuda", precision="auto")
