"""tabulate_runtime.py on the command line."""

import csv
import json
import re
from pathlib import Path

import pytest
import tabulate_runtime

PUBLISHED = Path(__file__).parents[2] / "workflow/published/table7.csv"


@pytest.fixture
def job(tmp_path):
    """A job that took some seconds, as words of the command line."""

    def make(name, seconds, **changes):
        boxes, times = tmp_path / f"{name}.json", tmp_path / f"{name}.tsv"
        boxes.write_text("[]")
        record = {"stage": name, "parameters": {}, "device": "cpu"}
        boxes.with_suffix(".meta.json").write_text(json.dumps({"provenance": record}))
        if seconds is not None:
            times.write_text(f"s\tcpu_time\n{seconds}\t1\n")
        words = {
            "network": "h",
            "task": "object discovery, LOST",
            "dataset": "VOC07",
            "stage": name,
            "artifact": boxes,
            "benchmark": times,
            **changes,
        }
        return ["--job", *(f"{key}={value}" for key, value in words.items())]

    return make


def make(output, *jobs, published=PUBLISHED):
    words = [word for of_job in jobs for word in of_job]
    return tabulate_runtime.main([*words, "--published", str(published), "--output", str(output)])


def read(path):
    with open(path, encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def test_hours_beside_the_paper_s(tmp_path, job):
    jobs = [job("pseudo_boxes", 360), job("train_detector", 1440)]
    assert make(tmp_path / "table7.csv", *jobs) == 0
    assert read(tmp_path / "table7.csv")[1:] == [
        ["f or g", "in all", "", "72.6 x [16]"],
        ["f^h or g^h", "in all", "", "5.3 x [1]"],
        ["h", "in all", "0.5 x [1 cpu]", "0.5 x [1]"],
        ["h", "pseudo_boxes", "0.1 x [1 cpu]", ""],
        ["h", "train_detector", "0.4 x [1 cpu]", ""],
    ]
    assert "0.5 x [1 cpu]" in (tmp_path / "table7.md").read_text("utf-8")


def test_a_missing_benchmark_file_is_named_in_one_line(tmp_path, job, capsys):
    jobs = [job("pseudo_boxes", 360), job("train_detector", None)]
    assert make(tmp_path / "table7.csv", *jobs) == 0
    assert re.fullmatch(r"no benchmark file.*train_detector\.tsv\n", capsys.readouterr().err)
    assert [row[2] for row in read(tmp_path / "table7.csv")[3:]] == ["–", "0.1 x [1 cpu]", "–"]


def test_same_bytes_each_time(tmp_path, job):
    for name in ("a.csv", "b.csv"):
        assert make(tmp_path / name, job("pseudo_boxes", 360)) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"artifact": "none.json"}, "none.json: no such file"),
        ({"shards": "x"}, "shards is x"),
        ({"colour": "red"}, "colour: unknown or missing"),
    ],
)
def test_bad_jobs_are_one_line(tmp_path, job, capsys, change, message):
    assert make(tmp_path / "table7.csv", job("pseudo_boxes", 360, **change)) == 1
    assert re.fullmatch(rf".* error: .*{message}.*\n", capsys.readouterr().err)
    assert not list(tmp_path.glob("table7.*"))


def test_bad_names(tmp_path, job, capsys):
    assert make(tmp_path / "table7.md", job("pseudo_boxes", 360)) == 1
    assert re.fullmatch(r".* error: .*ends in \.csv.*\n", capsys.readouterr().err)
    none = tmp_path / "none.csv"
    assert make(tmp_path / "table7.csv", job("pseudo_boxes", 360), published=none) == 1
    assert re.fullmatch(r".* error: .*none\.csv: no such file\n", capsys.readouterr().err)
