"""tabulate_metrics.py on the command line."""

import csv
import json
import re
from pathlib import Path

import pytest
import tabulate_metrics

PUBLISHED = Path(__file__).parents[2] / "workflow/published/table4.csv"


@pytest.fixture
def write(tmp_path):
    """Write JSON files into the test's folder."""

    def write_json(name, content):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return str(path)

    return write_json


def metrics(score, task="corloc", **labels):
    full = {"dataset": "scenes07", "method": "LOST", **labels}
    outcomes = {"image_id": [1], "correct": [1]}
    return {"task": task, "labels": full, "score": score, "outcomes": outcomes}


def comparison(seed, difference):
    labels = {"dataset": "scenes07", "images": "train", "method": "Ours (LOST)", "seed": seed}
    return {
        "task": "corloc",
        "labels": labels,
        "baseline": {"score": 60.0},
        "candidate": {"score": 60.0 + difference},
        "difference": difference,
        "p_value": 0.01,
    }


def make(table, output, *files, published=None, ablations=None):
    more = [] if published is None else ["--published", str(published)]
    more += [] if ablations is None else ["--ablations", *ablations]
    return tabulate_metrics.main(
        ["--table", table, "--metrics", *map(str, files), "--output", str(output), *more]
    )


def read(path):
    with open(path, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_scenes(tmp_path, write):
    files = [
        write("centre.json", metrics(20.0, method="Centre box")),
        write("h0.json", metrics(40.0, method="Ours (LOST)", output="h", seed="0")),
        write("ours0.json", metrics(63.0, method="Ours (LOST)", seed="0")),
        write("ours1.json", metrics(64.0, method="Ours (LOST)", seed="1")),
        write("lost.json", metrics(60.0)),
    ]
    assert make("4", tmp_path / "table4.csv", *files, published=PUBLISHED) == 0
    assert read(tmp_path / "table4.csv") == [
        {"model": "LOST", "scenes07": "60.0"},
        {"model": "Ours (LOST)", "scenes07": "63.5 ± 0.7 (40.0)"},
        {"model": "Centre box", "scenes07": "20.0"},
    ]
    assert "| Ours (LOST) | 63.5 ± 0.7 (40.0) |\n" in (tmp_path / "table4.md").read_text("utf-8")


def test_the_papers_dataset(tmp_path, write):
    files = [write("m.json", metrics(61.85, dataset="VOC07"))]
    assert make("4", tmp_path / "table4.csv", *files, published=PUBLISHED) == 0
    rows = {row["model"]: row for row in read(tmp_path / "table4.csv")}
    assert rows["LOST"] == {
        "model": "LOST",
        "VOC07": "61.9",
        "VOC07 published": "61.9",
        "source": "measured",
    }
    assert rows["Ours (MOVE)"]["VOC07 published"] == "77.5 (42.9)"
    assert rows["Ours (MOVE) + CAD"]["source"] == "published"
    assert len(rows) == 22


def test_average_precision_and_recall_beside_corloc(tmp_path, write):
    ap = metrics(30.0, "ap") | {"ap": 12.5, "ar100": 42.04}
    ours = metrics(31.0, "ap", method="Ours (LOST)", seed="0") | {"ap": 13.0, "ar100": 43.0}
    files = [
        write("corloc.json", metrics(60.0)),
        write("ap.json", ap),
        write("ours.json", ours),
        write("h.json", {**ours, "labels": {**ours["labels"], "output": "h"}}),
    ]
    assert make("average_precision", tmp_path / "ap.csv", *files) == 0
    assert [tuple(row.items()) for row in read(tmp_path / "ap.csv")] == [
        (
            ("model", "LOST"),
            ("CorLoc scenes07", "60.0"),
            ("AP50 scenes07", "30.0"),
            ("AP scenes07", "12.5"),
            ("AR100 scenes07", "42.0"),
        ),
        (
            ("model", "Ours (LOST)"),
            ("CorLoc scenes07", ""),
            ("AP50 scenes07", "31.0 (31.0)"),
            ("AP scenes07", "13.0 (13.0)"),
            ("AR100 scenes07", "43.0 (43.0)"),
        ),
    ]


def test_gains(tmp_path, write):
    files = [
        write("c0.json", comparison("0", 1.0)),
        write("c1.json", comparison("1", 3.0)),
        write("h0.json", metrics(45.0, method="Ours (LOST)", images="train", seed="0", output="h")),
    ]
    assert make("gains", tmp_path / "gains.csv", *files) == 0
    (row,) = read(tmp_path / "gains.csv")
    assert (row["gain"], row["mean gain"], row["h"]) == ("+1.00, +3.00", "+2.00", "45.00, –")
    assert (tmp_path / "gains.md").exists()


def test_ablations(tmp_path, write):
    """A variant that stands for two rows fills both; their order is that of --ablations."""
    files = [
        write("f.json", metrics(50.0, heuristic="LOST")),
        write("k1.json", metrics(52.0, heuristic="LOST", variant="k1", seed="0")),
        write("k10.json", metrics(54.0, heuristic="LOST", variant="default", seed="0")),
    ]
    names = ["default=w/o reg.", "k1=k=1", "default=k=10"]
    assert make("6", tmp_path / "table6.csv", *files, ablations=names) == 0
    assert [tuple(row.values()) for row in read(tmp_path / "table6.csv")] == [
        ("w/o reg.", "54.00"),
        ("k=10", "54.00"),
        ("k=1", "52.00"),
        ("f, not refined", "50.00"),
    ]


@pytest.mark.parametrize(
    ("table", "names", "message"),
    [
        ("6", ["k1"], "not of the form variant=name"),
        ("6", ["k5=k=5"], "variant k1 is not named"),
        ("6", None, "--ablations: names the rows"),
        ("4", ["k1=k=1"], "--ablations: names the rows"),
    ],
)
def test_bad_ablations_are_one_line(tmp_path, write, capsys, table, names, message):
    files = [write("k1.json", metrics(52.0, heuristic="LOST", variant="k1"))]
    assert make(table, tmp_path / "t.csv", *files, ablations=names) == 1
    assert re.fullmatch(rf".* error: .*{message}.*\n", capsys.readouterr().err)


def test_same_bytes_each_time(tmp_path, write):
    files = [write("m.json", metrics(60.0))]
    for name in ("a.csv", "b.csv"):
        make("4", tmp_path / name, *files, published=PUBLISHED)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("4", {"boxes": []}, "not a metrics file"),
        ("4", comparison("0", 1.0), "not a metrics file"),
        ("4", {**metrics(1.0), "labels": {"method": "LOST"}}, "no label dataset"),
        ("4", metrics(1.0, task="pointing_game"), "this table is of corloc"),
        ("average_precision", metrics(1.0, "pointing_game"), "this table is of corloc and ap"),
        ("average_precision", metrics(1.0, "ap") | {"ap": 1.0}, "holds no ar100; evaluate again"),
        ("gains", {"difference": 1.0}, "not a comparison file"),
        ("gains", metrics(1.0, output="h", images="train"), "no comparison of"),
    ],
)
def test_bad_metrics_are_one_line(tmp_path, write, capsys, table, content, message):
    assert make(table, tmp_path / "table.csv", write("bad.json", content)) == 1
    assert re.fullmatch(rf".* error: .*bad\.json: .*{message}.*\n", capsys.readouterr().err)
    assert not list(tmp_path.glob("table.*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method,cad\nLOST,no\n", "lacks `value`, has no number there"),
        ("value\nmany\n", "lacks `value`, has no number there"),
        ("value\n1\n", "metric is None"),
    ],
)
def test_bad_published_values(tmp_path, write, capsys, text, message):
    published = tmp_path / "published.csv"
    published.write_text(text)
    files = [write("m.json", metrics(60.0))]
    assert make("4", tmp_path / "table.csv", *files, published=published) == 1
    assert re.fullmatch(rf".* error: .*published\.csv: .*{message}.*\n", capsys.readouterr().err)


def test_gains_have_nothing_published(tmp_path, write, capsys):
    files = [write("c.json", comparison("0", 1.0))]
    assert make("gains", tmp_path / "t.csv", *files, published=PUBLISHED) == 1
    assert re.fullmatch(r".* error: --published: .*\n", capsys.readouterr().err)


def test_missing_files(tmp_path, write, capsys):
    assert make("4", tmp_path / "t.csv", tmp_path / "none.json") == 1
    assert re.fullmatch(r".* error: .*none\.json: cannot be read.*\n", capsys.readouterr().err)
    files = [write("m.json", metrics(60.0))]
    assert make("4", tmp_path / "t.csv", *files, published=tmp_path / "none.csv") == 1
    assert re.fullmatch(r".* error: .*none\.csv: no such file\n", capsys.readouterr().err)


def test_output_must_be_csv(tmp_path, write, capsys):
    assert make("4", tmp_path / "table.md", write("m.json", metrics(60.0))) == 1
    assert re.fullmatch(r".* error: .*ends in \.csv.*\n", capsys.readouterr().err)
