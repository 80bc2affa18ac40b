"""Hours by stage, from Snakemake's benchmark files and the artifacts that the jobs made (table 7).

A job is one stage's work for one network and task, in one or several shards; its benchmark files
say how long it took, and the provenance of its artifacts on which device.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..evaluation.statistics import mean_and_deviation
from ..storage.metrics_json import parse_labels
from ..storage.provenance import read_provenance
from .tables import Table, read_long_form

IN_ALL = "in all"  # the rows that stand beside the published ones
_NOTHING = "–"
_SHARD = "{shard}"
_CAPTION = (
    "Hours of wall time x [devices]; several seeds: mean ± standard deviation. h: all that its"
    " training needs, the proposed boxes included; f or g: pretraining, which is not repeated here."
    " Published: on GeForce RTX 2080 Ti GPUs, datasets not named; f and g as their own papers have"
    " it."
)


@dataclass(frozen=True)
class Job:
    """One line of work.

    Attributes:
        network: the row of the table: `h`, `f^h or g^h`, ...
        task: the column: `object discovery, LOST`, ...
        dataset: its label.
        stage: what ran.
        artifact: path of what it made; with shards it holds `{shard}`.
        benchmark: path of the time it took, likewise.
        seed: of the training it is part of; empty for what all seeds share.
        shards: how many files either path stands for.
    """

    network: str
    task: str
    dataset: str
    stage: str
    artifact: str
    benchmark: str
    seed: str = ""
    shards: int = 1

    def paths(self, of: str) -> list[Path]:
        """All files of `artifact` or `benchmark`."""
        pattern = getattr(self, of)
        return [Path(pattern.replace(_SHARD, str(shard))) for shard in range(self.shards)]


@dataclass(frozen=True)
class Published:
    """A published cell: `hours` on `gpus` GPUs."""

    network: str
    task: str
    hours: float
    gpus: int

    def __str__(self) -> str:
        return f"{self.hours:g} x [{self.gpus}]"


@dataclass(frozen=True)
class Cost:
    """What a job took: hours of wall time, and the devices it ran on."""

    hours: float
    devices: frozenset[str]


def parse_job(words: Sequence[str]) -> Job:
    """`network=h task=... dataset=... stage=... artifact=... benchmark=...`, in any order.

    Raises:
        InputError: a key is missing or unknown, or shards is not a number.
    """
    given = parse_labels(words, "--job")
    known = {field.name for field in fields(Job)}
    wrong = [*sorted(given.keys() - known), *sorted(known - given.keys() - {"seed", "shards"})]
    if wrong:
        raise InputError(f"--job: {wrong[0]}: unknown or missing; a job has {', '.join(known)}")
    if not given.get("shards", "1").isdecimal():
        raise InputError(f"--job: shards is {given['shards']}, not a number")
    named: dict[str, Any] = {**given, "shards": int(given.get("shards", 1))}
    return Job(**named)


def read_published(path: Path | str) -> list[Published]:
    """The paper's table 7 in long form: columns network, task, hours, gpus.

    Raises:
        InputError: not such a file.
    """
    needed = {"network": str, "task": str, "hours": float, "gpus": int}
    frame = read_long_form(path, needed, "a table of published hours")
    return [Published(row.network, row.task, row.hours, row.gpus) for row in frame.itertuples()]


def read_seconds(path: Path | str) -> float:
    """Wall seconds in a benchmark file of Snakemake's: the mean of its runs.

    Raises:
        InputError: not such a file.
    """
    what = "a benchmark file of Snakemake's"
    return float(read_long_form(path, {"s": float}, what, sep="\t")["s"].mean())


def job_cost(job: Job) -> Cost | None:
    """The sum over a job's shards; None where a benchmark file is missing.

    Raises:
        InputError: an artifact is missing or does not say where it was made.
    """
    if not all(path.is_file() for path in job.paths("benchmark")):
        return None
    seconds = sum(map(read_seconds, job.paths("benchmark")))
    return Cost(seconds / 3600, frozenset(map(_devices, job.paths("artifact"))))


def _devices(artifact: Path) -> str:
    """`1 cpu`, `2 NVIDIA H200`: how many processes, and what each ran on."""
    made = read_provenance(artifact)
    return f"{made['parameters'].get('devices', 1)} {made['device']}"


def runtime_table(
    costs: Iterable[tuple[Job, Cost | None]], published: Iterable[Published] = ()
) -> Table:
    """Hours by network and stage, for each task and dataset, beside the paper's.

    Each network has a row "in all", the sum of its stages, then a row for each stage. What all
    seeds share counts in the sum of each; cells are means over seeds. A cell without a cost for
    each of its jobs is left open, and so is the sum it belongs to.

    Args:
        costs: in the order of the rows and columns.
        published: networks that only these have come first; tasks that only they have are left
            out.
    """
    known = list(costs)
    datasets: dict[str, dict[str, None]] = {}  # by task; the inner one is a set that keeps order
    stages: dict[str, dict[str, None]] = {}  # by network
    for job, _ in known:
        datasets.setdefault(job.task, {})[job.dataset] = None
        stages.setdefault(job.network, {IN_ALL: None})[job.stage] = None
    theirs = {(e.network, e.task): str(e) for e in published if e.task in datasets}
    only_theirs = {network: {IN_ALL: None} for network, _ in theirs if network not in stages}
    reported = {task for _, task in theirs}

    header = ["network", "stage"]
    for task, names in datasets.items():
        header += [f"{task}: {name}" for name in names]
        header += [f"{task}, published"] * (task in reported)
    rows = []
    for network, stage in ((n, s) for n, of in (only_theirs | stages).items() for s in of):
        row = [network, stage]
        for task, names in datasets.items():
            row += [_cell(known, network, stage, task, name) for name in names]
            text = theirs.get((network, task), "") if stage == IN_ALL else ""
            row += [text] * (task in reported)
        rows.append(row)
    return Table(header, rows, _CAPTION)


def _cell(
    costs: Iterable[tuple[Job, Cost | None]], network: str, stage: str, task: str, dataset: str
) -> str:
    """`0.5 x [1 cpu]`, `0.5 ± 0.1 x [1 cpu]`, – where a cost is missing, or nothing."""
    place = (network, task, dataset)
    jobs = [
        (job, cost)
        for job, cost in costs
        if (job.network, job.task, job.dataset) == place and stage in (IN_ALL, job.stage)
    ]
    if not jobs:
        return ""
    found = [(job.seed, cost) for job, cost in jobs if cost is not None]
    if len(found) < len(jobs):
        return _NOTHING
    seeds = sorted({seed for seed, _ in found if seed}) or [""]
    hours = [sum(cost.hours for of, cost in found if of in ("", seed)) for seed in seeds]
    mean, deviation = mean_and_deviation(hours)
    spread = f" ± {deviation:.2g}" if len(hours) > 1 else ""
    devices = sorted({name for _, cost in found for name in cost.devices})
    return f"{mean:.3g}{spread} x [{', '.join(devices)}]"
