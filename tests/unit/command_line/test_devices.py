"""What --precision sets of torch."""

from collections.abc import Iterator

import pytest
import torch

from bbr.command_line.devices import allow_tf32, autocast


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
