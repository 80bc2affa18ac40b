"""Train CAD, the class-agnostic detector of Table 4, on the pseudo-boxes of a dataset.

Defaults are those of the paper's CAD rows (docs/protocol.md#cad): a ResNet-50 C4 Faster R-CNN.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import bbr.command_line.fast_import

from bbr.cad.batches import PseudoLabelled
from bbr.cad.network import build_cad
from bbr.cad.options import CadSpec, CadTraining
from bbr.cad.training import Descent, train_cad
from bbr.command_line import cli
from bbr.command_line.devices import seed_everything
from bbr.data.index import load_index
from bbr.options import all_recorded, option
from bbr.training.distributed import launch, run_in_processes
from bbr.training.perturbation import PerturbationOptions, perturb
from bbr.training.plan import plan_training
from bbr.training.run_options import ParallelOptions, TrainingOptions
from bbr.training.schedule import Schedule

_NOT_FILES = ("efficientnet_lite0",)
SCHEDULE = Schedule(steps=24000, batch_size=16, lr=0.02, warmup=100, lr_schedule="step")


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    boxes: Path = option(help="pseudo-boxes, boxes.json")
    output: Path = option(help="CAD, .safetensors")
    init: str | None = option(
        None,
        "pretrained network: a .safetensors or torch file of torchvision's layout, or"
        " efficientnet_lite0 [random]",
    )


def run(
    *,
    files: Files,
    spec: CadSpec,
    options: CadTraining,
    schedule: Schedule = SCHEDULE,
    descent: Descent,
    parallel: ParallelOptions,
    start: PerturbationOptions,
    training: TrainingOptions,
) -> None:
    """Train CAD and write it to `output` (safetensors).

    Raises:
        InputError: boxes and index do not belong together, or an option is bad.
    """
    parallel.require_divisible(schedule.batch_size)
    fabric = launch(training.device, training.precision, parallel.devices)
    seed_everything(training.seed)
    network = build_cad(spec, files.init, options)
    perturb(network.parameters(), start.perturbation, training.seed)
    file = None
    if files.init is not None and files.init not in _NOT_FILES:
        file = Path(files.init).expanduser()
    named = {"cad": asdict(spec), "training": options}
    parameters = all_recorded(
        {"init": files.init if file is None else "file"}, descent, start, parallel, **named
    )
    sources = {"index": files.index, "boxes": files.boxes, "init": file}
    plan = plan_training("train_cad", fabric, files.output, schedule, training, parameters, sources)
    plan = replace(plan, max_gradient_norm=descent.max_gradient_norm)
    data = PseudoLabelled(load_index(files.index), str(files.boxes))
    work = partial(train_cad, data=data, descent=descent, plan=plan)
    # As an argument of its own the network is copied for each process, not shared between them.
    run_in_processes(fabric, work, network)
    plan.checkpoint.discard()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
