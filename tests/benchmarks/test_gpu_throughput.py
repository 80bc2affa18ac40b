"""benchmarks/gpu_throughput.py at tiny sizes, and how it counts."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

BENCH = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def limits(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    import gpu_limits

    return gpu_limits


def test_products_and_convolutions_are_counted_with_their_gradients(limits):
    linear, convolution = nn.Linear(8, 16, bias=False), nn.Conv2d(3, 4, 3, padding=1, bias=False)
    vectors, image = torch.randn(5, 8, requires_grad=True), torch.randn(2, 3, 6, 7)

    def work():
        (linear(vectors).sum() + convolution(image).sum()).backward()

    found = limits.demand(work)
    assert found.other == 3 * 2 * 5 * 8 * 16  # forward, and the gradients of both factors
    assert found.convolution == 2 * 2 * (2 * 6 * 7) * (3 * 3 * 3) * 4  # the image needs none


def test_traffic_is_what_is_read_and_written_but_for_views(limits):
    values = torch.randn(10, 4)
    assert limits.demand(lambda: values.T.contiguous()).traffic == 2 * values.nbytes  # a copy
    assert limits.demand(lambda: values.view(40)).traffic == 0
    assert limits.demand(lambda: values + values[:, :1]).traffic == 2 * 160 + 40


def test_composite_operators_count_as_their_parts(limits):
    with torch.inference_mode():
        found = limits.demand(lambda: torch.matmul(torch.ones(3, 4, 5), torch.ones(5, 6)))
    assert found.other == 2 * 12 * 5 * 6


def test_limits_are_by_arithmetic_and_by_traffic(limits):
    rates = limits.Rates({"fp32": 1e3, "tf32": 1e4, "bf16": 1e5}, bandwidth=100.0)
    demand = limits.Demand(convolution=1e6, other=1e5, traffic=1e3)
    assert demand.seconds(rates, "fp32") == (pytest.approx(100 + 100), 10)
    assert demand.seconds(rates, "bf16") == (pytest.approx(10 + 1), 10)


def test_every_part_runs_on_a_cpu_at_tiny_sizes(tmp_path):
    path = tmp_path / "figures.json"
    command = [sys.executable, str(BENCH / "gpu_throughput.py"), "--device", "cpu", "--tiny"]
    run = subprocess.run([*command, "--json", str(path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    figures = json.loads(path.read_text())
    rows = figures["rows"]
    table = [line for line in run.stdout.splitlines() if line.startswith("| ")]
    assert len(table) == len(rows) + 2
    subjects = {row["what"].replace(",", "").split()[0] for row in rows}
    assert subjects == {"features", "h", "f^h", "g^h", "CAD", "LOST", "TokenCut"}
    assert all(row["per_second"] > 0 for row in rows)
    assert all(row["arithmetic_seconds"] > 0 for row in rows if row["demand"])
    assert math.isfinite(figures["copy_bytes_per_second"])


def test_stops_when_its_time_is_over(tmp_path):
    command = [sys.executable, str(BENCH / "gpu_throughput.py"), "--device", "cpu", "--tiny"]
    options = ["--limit", "0", "--parts", "network", "heuristics"]
    run = subprocess.run([*command, *options], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert len([line for line in run.stdout.splitlines() if line.startswith("| ")]) == 3
