"""Kill -9 every stage at random moments and start it again: the same bytes, nothing half-made.

Moments are random fractions of the time that an unbroken run takes, one in each third, so that
they fall into reading, computing and writing; training saves its state after every step.
"""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from stage_process import start_stage

TRAINING = ("--image-size", "64", "--checkpoint-seconds", "0", "--batch-size", "4")
# For each stage its main output and its options, with the names of earlier outputs in braces.
STAGES = {
    "render_scenes": ("index.json", "--preset scenes07 --count 40 --size 64 --seed 1"),
    "index_dataset": ("index.json", "--format folder --source {render_scenes.parent}/images"),
    "pretrain_backbone": ("f.safetensors", "--index {render_scenes} {vit} {training} --steps 5"),
    "extract_features": (
        "features.h5",
        "--index {render_scenes} --weights {pretrain_backbone} --normalization center",
    ),
    "pseudo_boxes": ("boxes.json", "--method lost --features {extract_features} --batch-size 1"),
    "merge_boxes": ("boxes.json", "--boxes {pseudo_boxes}"),
    "cache_detector_inputs": (
        "inputs.h5",
        "--index {render_scenes} --weights {pretrain_backbone} --image-size 64 --batch-size 2",
    ),
    "train_detector": (
        "h.safetensors",
        "--index {render_scenes} --inputs {cache_detector_inputs} --boxes {merge_boxes}"
        " --network attention --layout spatial --width 8 --batch-size 4 --steps 40"
        " --checkpoint-seconds 0",
    ),
    "predict_boxes": (
        "boxes.json",
        "--detector {train_detector} --inputs {cache_detector_inputs} --index {render_scenes}"
        " --batch-size 1",
    ),
    "refine_backbone": (
        "f.safetensors",
        "--index {render_scenes} --weights {pretrain_backbone} --detector {train_detector}"
        " --boxes {merge_boxes} {training} --steps 20 --lr 1e-4",
    ),
    "pretrain_inpainter": (
        "inpainter.safetensors",
        "--index {render_scenes} --image-size 32 --patch-size 8 --dim 16 --depth 1 --heads 2"
        " --decoder-dim 16 --decoder-depth 1 --decoder-heads 2 --batch-size 4 --steps 20"
        " --checkpoint-seconds 0",
    ),
    "train_segmenter": (
        "segmenter.safetensors",
        "--index {render_scenes} --weights {pretrain_backbone} --inpainter {pretrain_inpainter}"
        " {training} --least-width 8 --augmentation flip_maps --discriminator-weights random"
        " --discriminator-architecture resnet18 --discriminator-size 32"
        " --discriminator-width 4 --steps 10",
    ),
    "train_cad": (
        "cad.safetensors",
        "--index {render_scenes} --boxes {merge_boxes} --network tf_efficientnet_lite0"
        " --map-level 2 --roi-size 4 --anchor-sizes 16 32 --train-sizes 64 --roi-batch 4"
        " --train-proposals 50 8 --batch-size 4 --steps 12 --checkpoint-seconds 0",
    ),
    "predict_cad": (
        "boxes.json",
        "--cad {train_cad} --index {render_scenes} --test-size 64 --test-proposals 50 8"
        " --batch-size 1",
    ),
    "evaluate": (
        "metrics.json",
        "--task corloc --index {render_scenes} --boxes {merge_boxes}"
        " --label dataset=scenes07 method=LOST output=method cad=no seed=0 images=train",
    ),
    "compare_metrics": ("comparison.json", "--baseline {evaluate} --candidate {evaluate}"),
    "tabulate_metrics": ("table.csv", "--table 4 --metrics {evaluate}"),
    "draw_boxes": ("sheet.png", "--index {render_scenes} --boxes {merge_boxes} --count 6"),
}


class Runs:
    """Unbroken runs, made as they are needed; each is the input of others and the standard."""

    def __init__(self, root: Path, vit: list[str]) -> None:
        self.root = root
        self.fixed = {"vit": " ".join(vit), "training": " ".join(TRAINING)}
        self.seconds: dict[str, float] = {}

    def __getitem__(self, name: str) -> str | Path:
        return self.fixed[name] if name in self.fixed else self.output(name)

    def arguments(self, name: str, folder: Path) -> list[str]:
        """The command line of a stage with its output in a folder."""
        output, options = STAGES[name]
        return [
            *options.format_map(self).split(),
            "--threads",
            "1",
            "--output",
            f"{folder / output}",
        ]

    def output(self, name: str) -> Path:
        """The main output of an unbroken run."""
        folder = self.root / name
        if name not in self.seconds:
            self.seconds[name] = self.finish(name, self.arguments(name, folder))
        return folder / STAGES[name][0]

    def finish(self, name: str, arguments: list[str]) -> float:
        """Run a stage to its end; the seconds that it worked."""
        log = self.root / f"{name}.log"
        process = start_stage(name, arguments, log)
        started = time.perf_counter()
        process.join()
        assert process.exitcode == 0, log.read_text()
        return time.perf_counter() - started

    def kill(self, name: str, arguments: list[str], after: float) -> bool:
        """Kill a stage this many seconds after it began to work; False if it was done before."""
        process = start_stage(name, arguments, self.root / f"{name}.log")
        process.join(after)
        process.kill()
        process.join()
        return process.exitcode == -signal.SIGKILL


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_backbone):
    # Without `--weights random`: pretraining always starts from random weights.
    return Runs(tmp_path_factory.mktemp("runs"), tiny_backbone[2:])


def contents(folder):
    """Every file below a folder, hidden ones included."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", STAGES)
def test_killed_and_started_again(runs, name):
    output = runs.output(name)
    expected = contents(output.parent)
    rng = random.Random(name)
    for third in range(3):
        folder = runs.root / f"{name}{third}"  # beside the unbroken run's, as paths are relative
        arguments = runs.arguments(name, folder)
        delay = runs.seconds[name] * (third + rng.random()) / 3
        while not runs.kill(name, arguments, delay):
            # Faster than the unbroken run: it must be caught earlier.
            shutil.rmtree(folder)
            delay /= 2
        found = contents(folder)
        if output.name in found:
            # What the next stage would take for finished is finished.
            assert {path: found.get(path) for path in expected} == expected
        runs.finish(name, arguments)
        assert contents(folder) == expected


def test_killed_again_and_again(runs):
    """Each run gets a little further, from the state that the one before it saved."""
    name = "refine_backbone"
    expected = contents(runs.output(name).parent)
    folder = runs.root / "again"
    arguments = runs.arguments(name, folder)
    delay = runs.seconds[name] / 2
    kills = 0
    while runs.kill(name, arguments, delay):
        kills += 1
        delay *= 1.1  # should the machine have become slower
        assert kills < 30
    assert kills
    assert contents(folder) == expected
