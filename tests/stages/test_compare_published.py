"""compare_published.py on the command line."""

import csv
import json
import re
from pathlib import Path

import compare_published
import pytest

PUBLISHED = Path(__file__).parents[2] / "workflow/published"


@pytest.fixture
def write(tmp_path):
    """Write a metrics file into the test's folder."""

    def write_metrics(name, score, task="corloc", **labels):
        path = tmp_path / name
        content = {"task": task, "labels": labels, "score": score}
        path.write_text(json.dumps(content | {"outcomes": {"image_id": [1], "correct": [1]}}))
        return str(path)

    return write_metrics


def table(number, *metrics):
    return ["--table", number, str(PUBLISHED / f"table{number}.csv"), *metrics]


def compare(output, *words):
    return compare_published.main([*words, "--output", str(output)])


def read(path):
    with open(path, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_two_tables(tmp_path, write, capsys):
    """Of Table 4 one inside, one outside, one that the paper lacks; Table 6 shares its f^h."""
    ours = {"method": "Ours (LOST)", "heuristic": "LOST", "dataset": "VOC07"}
    four = [
        write("lost.json", 61.0, method="LOST", dataset="VOC07", heuristic="LOST"),
        write("ours0.json", 62.0, **ours, variant="default", seed="0"),
        write("ours1.json", 62.6, **ours, variant="default", seed="1"),
        write("box.json", 20.0, method="Centre box", dataset="VOC07"),
    ]
    names = ["default=k=10", "no_reg=w/o reg."]
    words = [*table("4", *four), *table("6", *four[:3]), "--ablations", *names]
    assert compare(tmp_path / "c.csv", *words) == 0
    assert [tuple(row.values()) for row in read(tmp_path / "c.csv")] == [
        ("4", "LOST", "VOC07", "method", "61.90", "61.00", "", "1", "-0.90", "no"),
        ("4", "Ours (LOST)", "VOC07", "method", "62.00", "62.30", "0.42", "2", "+0.30", "yes"),
        ("6", "k=10", "LOST VOC07", "method", "61.92", "62.30", "0.42", "2", "+0.38", "yes"),
    ]
    told = (
        "table 4: 2 of 75 published cells compared, 1 within 0.5 points; "
        "table 6: 1 of 15 published cells compared, 1 within 0.5 points"
    )
    assert capsys.readouterr() == (f"{told}\n", "")
    markdown = (tmp_path / "c.md").read_text("utf-8")
    assert told in markdown
    assert markdown.count("\n| ") == 1 + 3


@pytest.mark.parametrize(("tolerance", "within"), [("1", "yes"), ("0.9", "yes"), ("0.89", "no")])
def test_tolerance(tmp_path, write, tolerance, within):
    files = [write("lost.json", 61.0, method="LOST", dataset="VOC07")]
    assert compare(tmp_path / "c.csv", *table("4", *files), "--tolerance", tolerance) == 0
    (row,) = read(tmp_path / "c.csv")
    assert row[f"within {tolerance}"] == within


@pytest.mark.parametrize("measured", [True, False])
def test_nothing_to_compare_is_a_header_and_one_line(tmp_path, write, capsys, measured):
    files = [write("m.json", 61.9, method="LOST", dataset="scenes07")] if measured else []
    assert compare(tmp_path / "c.csv", *table("4", *files)) == 0
    header = "table,row,column,output,published,ours,deviation,seeds,difference,within 0.5\n"
    assert (tmp_path / "c.csv").read_text() == header
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"nothing is compared: .*\n", err)
    assert "table 4: 0 of 75" in (tmp_path / "c.md").read_text("utf-8")


def test_same_bytes_each_time(tmp_path, write):
    files = [write("lost.json", 61.0, method="LOST", dataset="VOC07")]
    for name in ("a", "b"):
        compare(tmp_path / f"{name}.csv", *table("4", *files))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.md").read_bytes() == (tmp_path / "b.md").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--table", "7", "p.csv"], "--table 7: begins with one of 1, 2, 3, 4, 5, 6"),
        (["--table", "4"], "--table 4: begins with one of"),
        (["--table", "4", "none.csv"], r"--table none\.csv: no such file"),
        ([*table("4"), *table("4")], "--table: a number is given twice"),
        (table("6"), "--ablations: names the rows"),
        ([*table("4"), "--ablations", "k1=k=1"], "--ablations: names the rows"),
        ([*table("4"), "--tolerance", "-1"], "tolerance"),
        (table("4", "none.json"), r"none\.json: cannot be read"),
        (table("4", str(PUBLISHED / "table4.csv")), r"table4\.csv: not valid JSON"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    try:
        status = compare(tmp_path / "c.csv", *words)
    except SystemExit as left:  # argparse
        status = left.code
    assert status
    assert re.search(rf"error: .*{message}.*\n\Z", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_output_must_be_csv(tmp_path, capsys):
    assert compare(tmp_path / "c.md", *table("4")) == 1
    assert re.fullmatch(r".* error: .*ends in \.csv.*\n", capsys.readouterr().err)


def test_a_metric_of_another_table_is_one_line(tmp_path, write, capsys):
    files = [write("m.json", 60.0, "pointing_game", method="LOST", dataset="VOC07")]
    assert compare(tmp_path / "c.csv", *table("4", *files)) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(r".* error: .*m\.json: .*this table is of corloc\n", told)
