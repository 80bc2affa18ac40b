"""Kill -9 every stage at random moments and start it again: the same bytes, nothing half-made.

Moments are random fractions of the time that an unbroken run takes, one in each third, so that
they fall into reading, computing and writing; training saves its state after every step.
"""

import random
import shutil
from pathlib import Path

import render_scenes
from outcomes import assert_refused
from stage_runs import STAGES, contents, script


def test_killed_and_started_again(runs, table, stage):
    output = runs.output(stage)
    expected = contents(output.parent)
    rng = random.Random(stage)
    for third in range(3):
        folder = runs.root / f"{stage}{third}"  # beside the unbroken run's, as paths are relative
        arguments = runs.arguments(stage, folder)
        delay = runs.seconds[stage] * (third + rng.random()) / 3
        while not runs.kill(stage, arguments, delay):
            # Faster than the unbroken run: it must be caught earlier.
            shutil.rmtree(folder)
            delay /= 2
        found = contents(folder)
        if output.name in found:
            # What the next stage would take for finished is finished.
            assert {path: found.get(path) for path in expected} == expected
        runs.finish(stage, arguments)
        assert contents(folder) == expected
        table.note("killed (SIGKILL) at a random moment, started again", stage, "same result")


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


def test_two_at_once(runs, table, stage):
    """Two runs with one output: what is there in the end is whole, and one of them may refuse."""
    expected = contents(runs.output(stage).parent)
    folder = runs.root / f"{stage}-twice"
    arguments = runs.arguments(stage, folder)
    logs = [runs.root / f"{stage}-{run}.log" for run in "ab"]
    both = [runs.start(stage, arguments, log) for log in logs]
    for process in both:
        process.join()
    assert 0 in [process.exitcode for process in both], logs[0].read_text()
    assert contents(folder) == expected
    for process, log in zip(both, logs, strict=True):
        if process.exitcode:
            assert_refused(process.exitcode, log.read_text())
        found = "refused in one line" if process.exitcode else "same result"
        table.note("two runs at once with one output", stage, found)


def test_every_stage_is_tried():
    scripts = {path.stem for path in Path(render_scenes.__file__).parent.glob("*.py")}
    # One prints, and writes no file that could be half-made; the other writes many, each of them
    # whole, into a folder that may hold others.
    assert {script(name) for name in STAGES} == scripts - {"check_data", "export_boxes"}
