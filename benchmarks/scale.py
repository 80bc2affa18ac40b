"""CPU time and peak memory of the stages that count images, against their number n.

    python benchmarks/scale.py --counts 1000 10000 100000

writes n tiny images with one box each and small features of them, runs the stages on them one
after another, each in a process of its own, and prints a table in Markdown: seconds and megabytes
at each n, and the least-squares lines through them. Another has the seconds that planning takes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "stages"))

from bbr.backbones.features_h5 import create_features  # noqa: E402
from bbr.storage.boxes_json import read_boxes, read_meta, write_boxes  # noqa: E402
from bbr.storage.json_files import write_json  # noqa: E402

SIDE, GRID, DIM = 32, (4, 4), 16
VIT = {"patch_size": 16, "img_size": SIDE, "embed_dim": 16, "depth": 1, "num_heads": 1}
LABELS = ("dataset=scale", "method=LOST", "output=method", "cad=no", "seed=0", "images=train")


@dataclass(frozen=True)
class Cost:
    """Of one run: CPU seconds of user and system, peak resident memory in MB."""

    seconds: float
    megabytes: float


# Runs a command, then prints its seconds and kilobytes. A process of its own, since a child's peak
# memory counts what its parent holds when it is started, and this one holds torch.
METER = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(status)
"""


def measured(stage: str, **options: object) -> Cost:
    """Run a stage to its end, on one thread, with `--k-patches 4` for `k_patches=4`."""
    command = [sys.executable, f"stages/{stage}.py", "--threads", "1"]
    for name, value in options.items():
        values = value if isinstance(value, list | tuple) else [value]
        command += [f"--{name.replace('_', '-')}", *map(str, values)]
    done = subprocess.run(
        [sys.executable, "-c", METER, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    seconds, kilobytes = map(float, done.stdout.splitlines()[-1].split())
    return Cost(seconds, kilobytes / 1024)


def write_images(folder: Path, count: int) -> None:
    """`count` PNG files of 32 × 32 pixels and a COCO file with a box for each."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(1, count + 1):
        plain = np.full((SIDE, SIDE, 3), rng.integers(0, 256, 3, dtype=np.uint8))
        Image.fromarray(plain).save(folder / "images" / f"{i:08d}.png", compress_level=1)
        images.append({"id": i, "file_name": f"{i:08d}.png", "width": SIDE, "height": SIDE})
        box = [*rng.integers(0, 16, 2).tolist(), 12, 14]
        annotations.append({"id": i, "image_id": i, "bbox": box, "category_id": 1, "iscrowd": 0})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "thing"}],
    }
    write_json(folder / "annotations.json", content)


def write_features(path: Path, first: int, count: int) -> None:
    """Noise on 4 × 4 patches, as `extract_features.py` would write it."""
    rng = np.random.default_rng(first)
    with create_features(
        path,
        backbone="noise",
        patch_size=SIDE / GRID[0],
        dim=DIM,
        heads=0,
        dtype="float16",
        provenance={},
    ) as writer:
        for i in range(first, first + count):
            key = torch.from_numpy(rng.standard_normal((GRID[0] * GRID[1], DIM), dtype=np.float32))
            writer.append(i, (SIDE, SIDE), GRID, key, None)


def split_boxes(path: Path, size: int) -> list[Path]:
    """The boxes of a file in files of `size` images."""
    records, meta = read_boxes(path), read_meta(path)
    starts = range(0, len(records), size)
    parts = [path.with_name(f"part{start}.json") for start in starts]
    for part, start in zip(parts, starts, strict=True):
        write_boxes(part, records[start : start + size], meta["provenance"])
    return parts


def run_stages(folder: Path, count: int, shard: int, extract: bool) -> Iterator[tuple[str, Cost]]:
    """Each stage's name and cost at `count` images, features in one file and in shards."""
    write_images(folder, count)
    index, photos = folder / "index.json", {"source": folder / "images", "format": "coco"}
    stated = folder / "annotations.json"
    yield (
        "index_dataset",
        measured("index_dataset", **photos, annotations=stated, output=index),
    )
    if extract:
        f = {"weights": "random", "architecture": "vit_tiny_patch16_224"}
        f["architecture_args"] = json.dumps(VIT)
        output = folder / "extracted.h5"
        yield "extract_features", measured("extract_features", index=index, **f, output=output)
    yield from _propose(folder, count, shard)
    boxes = split_boxes(folder / "all.json", shard)
    merged, metrics = folder / "boxes.json", folder / "metrics.json"
    yield "merge_shards", measured("merge_shards", shards=boxes, output=merged)
    scored = {"task": "corloc", "index": index, "boxes": merged, "label": LABELS}
    yield "evaluate", measured("evaluate", **scored, output=metrics)
    pair, output = {"baseline": metrics, "candidate": metrics}, folder / "comparison.json"
    yield "compare_metrics", measured("compare_metrics", **pair, output=output)
    output = folder / "table.csv"
    yield (
        "tabulate_metrics",
        measured("tabulate_metrics", table=4, metrics=metrics, output=output),
    )


def _propose(folder: Path, count: int, shard: int) -> Iterator[tuple[str, Cost]]:
    """Boxes of all images at once, and of one shard where there are so many."""
    lost = {"method": "lost", "k_patches": 4}
    parts = [("all", count, "all in one shard")]
    if count >= shard:
        parts.append(("shard", shard, f"a shard of {shard:,}"))
    for name, images, what in parts:
        features, output = folder / f"{name}.h5", folder / f"{name}.json"
        write_features(features, 1, images)
        cost = measured("pseudo_boxes", **lost, features=features, output=output)
        yield f"pseudo_boxes, {what}", cost


def line(counts: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """Intercept and slope of the least-squares line; a flat one through a single point."""
    if len(counts) == 1:
        return values[0], 0.0
    slope, intercept = np.polyfit(counts, values, 1)
    return float(intercept), float(slope)


def print_costs(costs: dict[str, dict[int, Cost]], counts: Sequence[int]) -> None:
    """The table of stages: what was measured, and the lines, per million images."""
    columns = [f"{n:,}" for n in counts]
    print(f"| stage | {' | '.join(columns)} | s, fitted | MB, fitted |")
    print(f"| --- | {' | '.join(['--:'] * len(columns))} | --: | --: |")
    for stage, by_count in costs.items():
        cells = [
            f"{by_count[n].seconds:.1f} s, {by_count[n].megabytes:.0f} MB" if n in by_count else ""
            for n in counts
        ]
        found = sorted(by_count)
        seconds = line(found, [by_count[n].seconds for n in found])
        memory = line(found, [by_count[n].megabytes for n in found])
        fitted = [f"{a:.1f} + {b * 1e6:.0f} N" for a, b in (seconds, memory)]
        print(f"| {stage} | {' | '.join(cells)} | {' | '.join(fitted)} |")
    print("\nN is n in millions.")


def print_planning(numbers: Sequence[int], folder: Path) -> None:
    """The table of the time that a dry run of Table 4's rows of LOST takes, by shards a dataset."""
    print("\n| shards of each dataset | jobs | s |\n| --: | --: | --: |")
    for shards in numbers:
        names = ("scenes07", "scenes12", "scenes20k")
        changes = folder / "shards.yaml"
        changes.write_text(yaml.safe_dump({"datasets": {n: {"shards": shards} for n in names}}))
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "results/table4.csv",
            "--dry-run",
            "--quiet",
            "rules",
            "--cores",
            "1",
            "--forceall",
            "--configfile",
            "workflow/configs/lost.yaml",
            changes,
        ]
        start = os.times()
        output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        spent = os.times()
        seconds = spent.children_user + spent.children_system
        seconds -= start.children_user + start.children_system
        text = output.stdout + output.stderr
        jobs = next(row.split()[1] for row in text.splitlines() if row.startswith("total "))
        print(f"| {shards} | {jobs} | {seconds:.1f} |", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="*", default=[1000, 10000, 100000])
    parser.add_argument("--shard", type=int, default=10000, help="images of a shard [10000]")
    parser.add_argument(
        "--extract-up-to",
        type=int,
        default=10000,
        metavar="N",
        help="largest n for extract_features [10000]",
    )
    parser.add_argument("--shards", type=int, nargs="*", default=[1, 8, 64], help="for planning")
    options = parser.parse_args()
    costs: dict[str, dict[int, Cost]] = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for count in options.counts:
            extract = count <= options.extract_up_to
            for stage, cost in run_stages(Path(folder, str(count)), count, options.shard, extract):
                costs.setdefault(stage, {})[count] = cost
                print(f"{time.monotonic() - started:.0f} s: {count} {stage}", file=sys.stderr)
        print_costs(costs, options.counts)
        print_planning(options.shards, Path(folder))


if __name__ == "__main__":
    main()
