"""Throughput of the pipeline's networks and heuristics at the paper's sizes, with random weights.

    python benchmarks/gpu_throughput.py --json FILE

Beside each figure stands what the device could do at most: FLOPs over the rate of its own matrix
products, and bytes that the operators move over the rate of its own copies, both measured first.
Weights do not change the cost. Ends in one Markdown table; with --tiny a CPU can try it.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

_BENCHMARKS = Path(__file__).resolve().parent
_ROOT = _BENCHMARKS.parent
sys.path[:0] = [str(_ROOT / "stages"), str(_ROOT / "tests" / "helpers"), str(_BENCHMARKS)]

import torch  # noqa: E402
from gpu_heuristics import heuristic_rows  # noqa: E402
from gpu_limits import Rates, measure_rates  # noqa: E402
from gpu_rows import Bench, Row, table  # noqa: E402
from gpu_scales import PAPER, TINY, Scale  # noqa: E402
from gpu_work import (  # noqa: E402
    cad_rows,
    detector_rows,
    extraction_rows,
    grounder_rows,
    network_rows,
    refinement_rows,
)

from bbr.command_line.devices import choose_device, device_name  # noqa: E402

PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "network": network_rows,
    "extraction": extraction_rows,
    "detector": detector_rows,
    "refinement": refinement_rows,
    "grounder": grounder_rows,
    "heuristics": heuristic_rows,
    "cad": cad_rows,
}


def write_photographs(folder: Path, scale: Scale) -> tuple[Path, Path]:
    """Smooth noise as JPEG files, an index that names each several times, and a box of each."""
    random = np.random.default_rng(0)
    height, width = scale.photograph
    for number in range(scale.files):
        coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        photograph = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        noisy = photograph + random.normal(0, 8, photograph.shape)
        cv2.imwrite(str(folder / f"{number}.jpg"), noisy.clip(0, 255).astype(np.uint8))
    images = [
        {"id": i, "file_name": f"{i % scale.files}.jpg", "height": height, "width": width}
        for i in range(scale.listed)
    ]
    index, boxes = folder / "index.json", folder / "boxes.json"
    index.write_text(
        json.dumps({"images": images, "annotations": [], "categories": [], "info": {}})
    )
    box = [width // 4, height // 4, width // 2, height // 2]
    boxes.write_text(
        json.dumps(
            [
                {"image_id": image["id"], "category_id": 1, "bbox": box, "score": 1.0}
                for image in images
            ]
        )
    )
    return index, boxes


def run(
    device: torch.device, scale: Scale, parts: list[str], limit: float
) -> tuple[list[Row], Rates]:
    """The rows of these parts, as far as they come in `limit` seconds."""
    began = time.perf_counter()
    rates = measure_rates(device, scale.matmul, scale.copied, scale.repeats)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(device, scale, rates, folder, *write_photographs(folder, scale))
        for part in parts:
            start = time.perf_counter()
            for row in PARTS[part](bench):
                rows.append(row)
                print(" ".join(row.cells(rates)), file=sys.stderr, flush=True)
                if time.perf_counter() - began > limit:
                    print(f"{part}: stopped after {limit:g} s", file=sys.stderr, flush=True)
                    return rows, rates
            print(f"{part}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    return rows, rates


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where all figures go as well")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes for a try")
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument(
        "--limit",
        type=float,
        default=240.0,
        help="seconds after which no further figure is begun [240]",
    )
    options = parser.parse_args(argv)
    logging.disable(logging.INFO)  # progress of the stages
    device = choose_device(options.device)
    start = time.perf_counter()
    rows, rates = run(device, TINY if options.tiny else PAPER, options.parts, options.limit)
    measured = {
        "device": device_name(device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "seconds": time.perf_counter() - start,
        "matmul_flops": rates.matmul,
        "copy_bytes_per_second": rates.bandwidth,
    }
    if options.json:
        records = [row.record(rates) for row in rows]
        options.json.write_text(json.dumps(measured | {"rows": records}, indent=1))
    products = ", ".join(f"{mode} {flops / 1e12:.4g}" for mode, flops in rates.matmul.items())
    print(
        f"{measured['device']}, torch {torch.__version__}, {measured['threads']} CPU threads;"
        f" TFLOP/s of {products}; copies {rates.bandwidth / 1e9:.4g} GB/s;"
        f" {measured['seconds']:.0f} s in all\n"
    )
    print(table(rows, rates))
    return 0


if __name__ == "__main__":
    sys.exit(main())
