"""The training loop that stages share: batches, rates, and resuming as if nothing had happened."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bbr.training import checkpoint as checkpoint_module
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.schedule import Schedule

counts, sizes, seeds = st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**31)


@given(counts, sizes, seeds)
def test_every_epoch_is_a_permutation(count, batch_size, seed):
    steps = -(-3 * count // batch_size)
    batches = [batch_indices(count, batch_size, seed, step) for step in range(steps)]
    assert all(batch.shape == (batch_size,) for batch in batches)
    order = torch.cat(batches)
    for epoch in range(3):
        one = order[epoch * count : (epoch + 1) * count]
        assert one.sort().values.tolist() == list(range(count))


@given(counts, sizes, seeds, st.integers(0, 10**6))
def test_a_step_does_not_depend_on_the_steps_before(count, batch_size, seed, step):
    first = batch_indices(count, batch_size, seed, step)
    torch.rand(3)
    batch_indices(count, batch_size, seed, step + 1)
    assert torch.equal(batch_indices(count, batch_size, seed, step), first)


def test_epochs_and_seeds_are_shuffled_differently():
    orders = {
        tuple(batch_indices(30, 30, seed, step).tolist()) for seed in (0, 1) for step in (0, 1, 2)
    }
    assert len(orders) == 6


@given(seeds, st.integers(0, 10**6))
def test_random_numbers_of_a_step(seed, step):
    drawn = [torch.rand(4, generator=step_generator(seed, step)).tolist() for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != torch.rand(4, generator=step_generator(seed, step + 1)).tolist()
    assert drawn[0] != torch.rand(4, generator=step_generator(seed + 1, step)).tolist()


def test_rates_by_hand():
    constant = Schedule(steps=10, batch_size=1, lr=8.0, warmup=4)
    assert [constant.rate(step) for step in range(10)] == [2, 4, 6, 8, 8, 8, 8, 8, 8, 8]
    cosine = Schedule(steps=8, batch_size=1, lr=2.0, warmup=2, lr_schedule="cosine")
    expected = [1, 2] + [1 + math.cos(math.pi * n / 6) for n in range(6)]
    assert [cosine.rate(step) for step in range(8)] == pytest.approx(expected)
    assert cosine.rate(5) == pytest.approx(1.0)  # half of the way down
    assert Schedule(steps=1, batch_size=1, lr=3.0, lr_schedule="cosine").rate(0) == 3.0


def test_steps_of_cad_are_absolute():
    """Detectron2's, by LOST: a tenth at 18,000 and 22,000, so that VOC07's 10,000 never decay."""
    cad = Schedule(24000, 16, 0.02, warmup=100, lr_schedule="step", decay_at=(18000, 22000))
    voc07 = Schedule(10000, 16, 0.02, warmup=100, lr_schedule="step", decay_at=(18000, 22000))
    for step in (100, 9999, 17999, 18000, 21999, 22000, 23999):
        expected = 0.02 * 0.1 ** ((step >= 18000) + (step >= 22000))
        assert cad.rate(step) == pytest.approx(expected)
        if step < 10000:
            assert voc07.rate(step) == 0.02
    # Without them the same shares of all steps, as before.
    assert Schedule(10000, 16, 0.02, lr_schedule="step").rate(7500) == pytest.approx(0.002)


def test_move_s_polynomial_is_by_epochs():
    """torch's own schedule, as the released code steps it: once an epoch, to 0 after 70, of which
    the head sees 60."""
    epochs, batches = 60, 31
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-4)
    original = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=70, power=2)
    ours = Schedule(
        epochs * batches, 32, 1e-4, lr_schedule="polynomial", decay_steps=70 * 31, decay_every=31
    )
    for epoch in range(epochs):
        for batch in (0, 17, 30):
            expected = optimizer.param_groups[0]["lr"]
            assert ours.rate(epoch * batches + batch) == pytest.approx(expected)
            assert expected == pytest.approx(1e-4 * (1 - epoch / 70) ** 2)
        optimizer.step()
        original.step()


def test_warmup_longer_than_the_run():
    schedule = Schedule(steps=3, batch_size=1, lr=1.0, warmup=10, lr_schedule="cosine")
    assert [schedule.rate(step) for step in range(3)] == pytest.approx([0.1, 0.2, 0.3])


class Network(nn.Module):
    """With a buffer that moves at every step, as batch norm's statistics do."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def forward(self, x):
        return self.layers(x)


class Killed(BaseException):
    """Ends a run without a chance to save anything."""


def train(
    folder, steps=12, kill_at=None, identity="run", every=0, parts=1, optimizer=torch.optim.Adam
):
    """Train a fresh network to fit noise; returns the states of network and optimizer."""
    torch.manual_seed(0)
    network = Network()
    fabric = launch("cpu", "fp32")
    model, optimizer = fabric.setup(network, optimizer(network.parameters(), lr=0.1))
    schedule = Schedule(steps, batch_size=8, lr=0.05, warmup=3, lr_schedule="cosine")
    rates, after = [], []

    def loss(step):
        if step == kill_at:
            raise Killed
        rates.append(optimizer.param_groups[0]["lr"])
        data = torch.randn(8, 4, generator=step_generator(1, step))
        for part in data.chunk(parts):
            error = (model(part[:, :3]) - part[:, 3:]) ** 2
            yield {"total": error.mean() / parts, "first": error[0, 0]}

    checkpoint = Checkpoint(folder / "out.safetensors", {"name": identity}, every)
    optimize(model, loss, optimizer, schedule, checkpoint, fabric, "steps", after.append)
    return network.state_dict(), optimizer.state_dict(), rates, after


@pytest.mark.parametrize("longest", [1.0, None])
def test_gradients_are_shortened_where_it_is_asked_for(tmp_path, longest):
    """One step of SGD by hand: the released code takes gradients as long as they are."""
    network = nn.Linear(2, 1, bias=False)
    fabric = launch("cpu", "fp32")
    before, slope = network.weight.detach().clone(), torch.tensor([[30.0, 40.0]])
    model, optimizer = fabric.setup(network, torch.optim.SGD(network.parameters(), lr=0.1))
    schedule = Schedule(steps=1, batch_size=1, lr=0.1)
    checkpoint = Checkpoint(tmp_path / "out", {}, 60)

    def loss(step):
        yield {"total": model(slope).sum()}

    optimize(
        model, loss, optimizer, schedule, checkpoint, fabric, "steps", max_gradient_norm=longest
    )
    moved = slope if longest is None else slope / 50
    torch.testing.assert_close(network.weight, before - 0.1 * moved)


def killed_run(folder, **options):
    with pytest.raises(Killed):
        train(folder, **options)
    return folder / ".out.safetensors.checkpoint.pt"


def assert_same(first, second):
    """Nested dictionaries and lists of tensors and numbers, equal to the last bit."""
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict | list | tuple):
        assert len(first) == len(second)
        keys = first if isinstance(first, dict) else range(len(first))
        for key in keys:
            assert_same(first[key], second[key])
    else:
        assert first == second


@pytest.mark.parametrize("kill_at", [1, 6, 11])
def test_resumed_run_is_the_unbroken_one(tmp_path, kill_at):
    network, optimizer, rates, after = train(tmp_path / "unbroken")
    killed_run(tmp_path, kill_at=kill_at)
    torch.rand(7)  # another process has other random numbers behind it
    resumed = train(tmp_path)
    assert_same(resumed[0], network)
    assert_same(resumed[1], optimizer)
    assert resumed[2:] == (rates[kill_at:], after[kill_at:])


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    once = train(tmp_path)
    again = train(tmp_path)
    assert_same(again[:2], once[:2])
    assert again[2] == []


def test_checkpoint_of_other_parameters_is_ignored(tmp_path, caplog):
    killed_run(tmp_path, kill_at=6, identity="other")
    resumed, fresh = train(tmp_path), train(tmp_path / "fresh")
    assert_same(resumed, fresh)
    assert "checkpoint of another run ignored" in caplog.text


def first_tensor(path):
    """The bytes of a tensor in a checkpoint."""
    weights = torch.load(path, weights_only=True)["model"].values()
    return next(iter(weights)).numpy().tobytes()


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "flipped", "another object"])
def test_damaged_checkpoint_is_ignored(tmp_path, caplog, damage):
    path = killed_run(tmp_path, kill_at=6)
    content = path.read_bytes()
    if damage == "another object":
        torch.save(torch.zeros(3), path)
    elif damage == "flipped":
        place = content.index(first_tensor(path)) + 1
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    else:
        path.write_bytes({"truncated": content[:-200], "empty": b"", "garbage": b"?" * 999}[damage])
    assert_same(train(tmp_path), train(tmp_path / "fresh"))
    assert "ignored" in caplog.text


def test_checkpoints_keep_their_distance(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: clock[0])
    network = Network()
    optimizer = torch.optim.Adam(network.parameters())
    checkpoint = Checkpoint(tmp_path / "out.safetensors", {}, every_seconds=60)
    saved = []
    for step in range(1, 8):
        clock[0] += 25
        checkpoint.save_when_due(step, network, optimizer)
        saved.append(checkpoint.resume(network, optimizer))
    assert saved == [0, 0, 3, 3, 3, 6, 6]
    checkpoint.discard()
    assert list(tmp_path.iterdir()) == []
    checkpoint.discard()


def test_rates_follow_the_schedule(tmp_path):
    *_, rates, after = train(tmp_path, steps=5, every=1000)
    schedule = Schedule(5, batch_size=8, lr=0.05, warmup=3, lr_schedule="cosine")
    assert rates == [schedule.rate(step) for step in range(5)]
    assert after == [0, 1, 2, 3, 4]


def fit_a_point(tmp_path, parts, far):
    """One step of plain gradient descent at rate 1 on (w·1 - far)², from w = 0."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    fabric = launch("cpu", "fp32")
    wrapped, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=1.0))

    def loss(step):
        for target in far:
            yield {"total": ((wrapped(torch.ones(1, 1)) - target) ** 2).mean() / parts}

    schedule = Schedule(steps=1, batch_size=1, lr=1.0)
    checkpoint = Checkpoint(tmp_path / "o", {}, 1000)
    optimize(wrapped, loss, optimizer, schedule, checkpoint, fabric, "steps")
    return model.weight.item()


def test_gradients_of_parts_add_up(tmp_path):
    """Targets 0.1 and 0.3 in two parts: the gradient at 0 is -(2·0.1 + 2·0.3) / 2."""
    assert fit_a_point(tmp_path, 2, [0.1, 0.3]) == pytest.approx(0.4)


def test_a_long_gradient_is_cut_to_length_one(tmp_path):
    assert fit_a_point(tmp_path, 1, [50.0]) == pytest.approx(1.0, abs=1e-5)


def test_a_job_of_slurm_s_starts_its_processes_itself(monkeypatch):
    for name, value in (("NTASKS", "1"), ("JOB_NAME", "x"), ("PROCID", "0"), ("JOB_ID", "7")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    fabric = launch("cpu", "fp32", devices=2)
    assert fabric.strategy.cluster_environment.creates_processes_externally is False
