"""The plan of a training: what is recorded of it, and which images and numbers its steps get."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import torch

from bbr.options import all_recorded, option
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, step_generator
from bbr.training.plan import plan_training
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Clipping, Schedule

SCHEDULE = Schedule(steps=5, batch_size=3, lr=0.5)
TRAINING = TrainingOptions("cpu", "fp32", 7.0, seed=4)


@dataclass(frozen=True)
class Kiln:
    """A kiln."""

    heat: int = option(9, "how hot")
    lid: bool = option(False, "on", later=True)


def planned(tmp_path, *more):
    (tmp_path / "clay").write_bytes(b"abc")
    told = all_recorded(Kiln(), oven=Kiln(3, True))
    sources = {"clay": tmp_path / "clay", "glaze": None}
    where = (launch("cpu", "fp32"), tmp_path / "pot.st")
    return plan_training("fire", *where, SCHEDULE, TRAINING, told, sources, *more)


def test_the_record_has_every_option_that_changes_the_result(tmp_path):
    record = planned(tmp_path).record
    assert record["stage"] == "fire"
    assert record["device"] == "cpu"
    assert record["parameters"] == {
        "heat": 9,
        "oven": {"heat": 3, "lid": True},
        "precision": "fp32",
        "schedule": {
            "steps": 5,
            "batch_size": 3,
            "lr": 0.5,
            "weight_decay": 1e-4,
            "warmup": 0,
            "lr_schedule": "constant",
        },
        "seed": 4,
    }
    # SHA-256 of "abc", from FIPS 180-2.
    of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert record["inputs"] == {"clay": of_abc}


def test_another_length_of_gradients_is_kept_and_recorded(tmp_path):
    assert planned(tmp_path).max_gradient_norm == 1
    plan = planned(tmp_path, Clipping(None))
    assert plan.max_gradient_norm is None
    assert plan.record["parameters"]["max_gradient_norm"] is None


def test_steps_are_those_of_the_loop(tmp_path):
    plan = pickle.loads(pickle.dumps(planned(tmp_path)))  # as another process has it
    assert torch.equal(plan.indices(10, 2), batch_indices(10, 3, 4, 2))
    drawn = torch.rand(4, generator=plan.generator(2, rank=1))
    assert torch.equal(drawn, torch.rand(4, generator=step_generator(4, 2, 1)))


def test_a_training_takes_its_steps(tmp_path):
    """Plain descent on 3w from w = 0, the gradient shortened to 1: five steps of 0.5."""
    plan = planned(tmp_path)
    model, fabric = torch.nn.Linear(1, 1, bias=False), launch("cpu", "fp32")
    torch.nn.init.zeros_(model.weight)
    wrapped, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.5))

    def loss(step):
        yield {"total": 3 * wrapped(torch.ones(1, 1)).sum()}

    seen = []
    plan.optimize(fabric, wrapped, optimizer, loss, "steps", seen.append)
    assert seen == [0, 1, 2, 3, 4]
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[-2.5]]), rtol=1e-4, atol=0)
