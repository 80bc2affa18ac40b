"""Hours by stage: jobs, their costs and the table."""

import json

import pytest

from bbr.errors import InputError
from bbr.reporting.runtime import (
    Cost,
    Job,
    Published,
    job_cost,
    parse_job,
    read_published,
    read_seconds,
    runtime_table,
)

TASK = "object discovery, LOST"
WORDS = [
    "network=h",
    f"task={TASK}",
    "dataset=VOC07",
    "stage=train_detector",
    "artifact=h.json",
    "benchmark=h.tsv",
]


def job(network="h", stage="train_detector", dataset="VOC07", seed="", **more):
    return Job(network, more.pop("task", TASK), dataset, stage, "a", "b", seed, **more)


def cost(hours, *devices):
    return Cost(hours, frozenset(devices or ["1 cpu"]))


def benchmark(path, *seconds):
    lines = ["s\th:m:s\tcpu_time", *(f"{s}\t0:00:01\t9.9" for s in seconds)]
    path.write_text("\n".join(lines) + "\n")


def artifact(path, device="cpu", **parameters):
    """Boxes, of which the meta file says how they were made."""
    path.write_text("[]")
    record = {"stage": "x", "parameters": parameters, "device": device}
    path.with_suffix(".meta.json").write_text(json.dumps({"provenance": record}))


def test_words_make_a_job():
    made = parse_job([*WORDS, "seed=3", "shards=2"])
    assert (made.network, made.task, made.seed, made.shards) == ("h", TASK, "3", 2)
    assert parse_job(WORDS).shards == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (WORDS[1:], "network: unknown or missing"),
        ([*WORDS, "color=red"], "color: unknown or missing"),
        ([*WORDS, "shards=two"], "shards is two"),
        ([*WORDS, "x"], "not of the form key=value"),
    ],
)
def test_words_that_make_none(words, message):
    with pytest.raises(InputError, match=message):
        parse_job(words)


def test_shards_are_added_up(tmp_path):
    for shard, (seconds, device) in enumerate([(360, "cpu"), (720, "NVIDIA H200")]):
        benchmark(tmp_path / f"{shard}.tsv", seconds)
        artifact(tmp_path / f"{shard}.json", device)
    pattern = str(tmp_path / "{shard}")
    both = Job("h", TASK, "d", "s", f"{pattern}.json", f"{pattern}.tsv", shards=2)
    assert job_cost(both) == Cost(pytest.approx(0.3), frozenset(["1 cpu", "1 NVIDIA H200"]))
    (tmp_path / "1.tsv").unlink()
    assert job_cost(both) is None


def test_several_devices_are_counted(tmp_path):
    benchmark(tmp_path / "t.tsv", 3600)
    artifact(tmp_path / "a.json", devices=4)
    made = Job("h", TASK, "d", "s", str(tmp_path / "a.json"), str(tmp_path / "t.tsv"))
    assert job_cost(made) == Cost(1.0, frozenset(["4 cpu"]))


def test_repeated_runs_are_averaged(tmp_path):
    benchmark(tmp_path / "t.tsv", 1.0, 4.0)
    assert read_seconds(tmp_path / "t.tsv") == 2.5


@pytest.mark.parametrize("text", ["", "s\n", "s\nfast\n", "seconds\n1\n"])
def test_not_a_benchmark_file(tmp_path, text):
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(InputError, match="not a benchmark file of Snakemake's"):
        read_seconds(tmp_path / "t.tsv")


@pytest.mark.parametrize("text", ["network,task\nh,x\n", "network,task,hours,gpus\nh,x,long,1\n"])
def test_bad_published_values(tmp_path, text):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match="not a table of published hours"):
        read_published(tmp_path / "p.csv")


def test_stages_add_up_beside_the_published_sum():
    costs = [
        (job(stage="pseudo_boxes"), cost(0.25)),
        (job(stage="train_detector"), cost(0.5, "1 NVIDIA H200")),
        (job("f^h", "refine_backbone", dataset="VOC12"), cost(2.0)),
    ]
    published = [
        Published("f", TASK, 72.6, 16),
        Published("h", TASK, 0.5, 1),
        Published("h", "phrase grounding", 0.5, 1),
    ]
    table = runtime_table(costs, published)
    assert table.header == [
        "network",
        "stage",
        f"{TASK}: VOC07",
        f"{TASK}: VOC12",
        f"{TASK}, published",
    ]
    assert table.rows == [
        ["f", "in all", "", "", "72.6 x [16]"],
        ["h", "in all", "0.75 x [1 NVIDIA H200, 1 cpu]", "", "0.5 x [1]"],
        ["h", "pseudo_boxes", "0.25 x [1 cpu]", "", ""],
        ["h", "train_detector", "0.5 x [1 NVIDIA H200]", "", ""],
        ["f^h", "in all", "", "2 x [1 cpu]", ""],
        ["f^h", "refine_backbone", "", "2 x [1 cpu]", ""],
    ]


def test_seeds_are_averaged_and_share_what_has_none():
    costs = [
        (job(stage="pseudo_boxes"), cost(1.0)),
        (job(seed="0"), cost(2.0)),
        (job(seed="1"), cost(4.0)),
    ]
    cells = [row[2] for row in runtime_table(costs).rows]
    # 3 and 5 hours in all: mean 4, standard deviation the root of 2.
    assert cells == ["4 ± 1.4 x [1 cpu]", "1 x [1 cpu]", "3 ± 1.4 x [1 cpu]"]


def test_what_is_not_known_is_left_open():
    costs = [(job(stage="pseudo_boxes"), cost(1.0)), (job(), None)]
    assert [row[2] for row in runtime_table(costs).rows] == ["–", "1 x [1 cpu]", "–"]
