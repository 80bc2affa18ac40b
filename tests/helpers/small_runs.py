"""Data and command lines small enough to run the network stages in a test."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cache_detector_inputs
import render_scenes
import torch
import train_detector
from safetensors.torch import load_file
from stage_process import start_stage
from tiny_vit import TINY_VIT, write_tiny_vit
from workflow_copies import Repository

STAGES = Path(train_detector.__file__).parent
ARCHITECTURE = [
    "--architecture",
    "vit_tiny_patch16_224",
    "--architecture-args",
    json.dumps(TINY_VIT),
]
BACKBONE = ["--weights", "random", *ARCHITECTURE]
# One thread: sums are then added in the same order by every process.
ONE_THREAD = ["--threads", "1"]


def command(**options: object) -> list[str]:
    """`steps=3` to `--steps 3`."""
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in options.items())
    return [text for pair in pairs for text in pair]


def make_index(folder: Path, count: int = 8, seed: int = 0) -> Path:
    """Scenes of 64 × 64 pixels."""
    path = folder / "index.json"
    options = command(preset="scenes07", count=count, size=64, seed=seed, output=path)
    assert render_scenes.main(options) == 0
    return path


def make_inputs(index: Path, output: Path, *more: str) -> Path:
    """What h reads of the tiny backbone at 64 × 64 pixels: 4 × 4 patches, d = 32."""
    options = command(index=index, image_size=64, output=output)
    assert cache_detector_inputs.main([*options, *BACKBONE, *ONE_THREAD, *more]) == 0
    return output


def make_boxes(index: Path, output: Path) -> Path:
    """The first object of each image, in the place of a heuristic's box."""
    first = {a["image_id"]: a for a in reversed(json.loads(index.read_text())["annotations"])}
    records = [{"image_id": i, "bbox": a["bbox"], "score": 1.0} for i, a in sorted(first.items())]
    output.write_text(json.dumps(records))
    return output


def make_detector(inputs: Path, boxes: Path, index: Path, output: Path, *more: str) -> Path:
    """A barely trained attention h."""
    options = command(
        inputs=inputs,
        boxes=boxes,
        index=index,
        output=output,
        network="attention",
        layout="spatial",
        width=8,
        num_boxes=3,
        steps=2,
        batch_size=4,
        lr=1e-3,
    )
    assert train_detector.main([*options, *ONE_THREAD, *more]) == 0
    return output


def make_chain(folder: Path) -> dict[str, Path]:
    """Scenes, f as a file, boxes, and an h trained on f, under the names of options."""
    index, weights = make_index(folder), write_tiny_vit(folder / "f.safetensors")
    inputs = make_inputs(index, folder / "inputs.h5", "--weights", str(weights))
    boxes = make_boxes(index, folder / "boxes.json")
    detector = make_detector(inputs, boxes, index, folder / "h.safetensors")
    return {"index": index, "weights": weights, "boxes": boxes, "detector": detector}


def run_script(stage: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """A stage in a process of its own."""
    script = [Repository.warm_python(), STAGES / f"{stage}.py", *arguments]
    process = subprocess.Popen(
        script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    try:
        output, errors = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # all that it has started is in its group
        raise
    return subprocess.CompletedProcess(script, process.returncode, output, errors)


def kill_when_there(stage: str, arguments: list[str], pattern: str, folder: Path) -> None:
    """Start a stage and SIGKILL it as soon as a file of this pattern lies in `folder`."""
    status = _kill_once(lambda log: any(folder.glob(pattern)), stage, arguments)
    assert status == -signal.SIGKILL, "it ended before it could be killed"


def kill_at_first_line(stage: str, arguments: list[str]) -> None:
    """Start a stage and SIGKILL it when it reports progress for the first time."""
    status = _kill_once(lambda log: " of " in log.read_text(), stage, arguments)
    assert status in (-signal.SIGKILL, 0)  # it may be over in the milliseconds until then


def _kill_once(reached: Callable[[Path], bool], stage: str, arguments: list[str]) -> int | None:
    """Its exit status; `reached` is asked with the stage's log."""
    with TemporaryDirectory() as folder:
        log = Path(folder, "log")
        process = start_stage(stage, arguments, log)
        deadline = time.monotonic() + 120
        try:
            while not reached(log) and process.is_alive():
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.002)
        finally:
            process.kill()
            process.join()
        return process.exitcode


def assert_refused(status: int, stderr: str, message: str, output: Path) -> None:
    """Exit status 1, one line that says why, no traceback, no output."""
    errors = [line for line in stderr.splitlines() if ": error: " in line]
    assert status == 1, stderr
    assert len(errors) == 1, stderr
    assert re.search(message, errors[0]), errors[0]
    assert "Traceback" not in stderr
    assert not output.exists()
    assert list(output.parent.glob(f".{output.name}.*tmp*")) == []


def disagreement(path: Path, other: Path, start: dict[str, torch.Tensor]) -> float:
    """How far two runs from `start` ended from each other, as a share of how far they went.

    A bound on single weights would say little: where a gradient is zero but for rounding, as that
    of a bias of keys below the last block, Adam takes full steps of either sign.
    """
    first, second = load_file(path), load_file(other)
    apart = sum((first[name] - second[name]).double().square().sum() for name in first)
    moved = sum((first[name] - start[name]).double().square().sum() for name in first)
    assert moved > 0
    return float((apart / moved).sqrt())
