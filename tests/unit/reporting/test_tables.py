"""Tables cell by cell."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from bbr.errors import InputError
from bbr.reporting.paper_tables import LAYOUTS, NOT_REFINED
from bbr.reporting.scores import read_published
from bbr.reporting.tables import (
    Score,
    Table,
    encode_csv,
    encode_markdown,
    paper_table,
)


def score(value, source="m.json", **labels):
    return Score(
        {"dataset": "scenes07", "method": "LOST", "metric": "corloc", **labels}, value, source
    )


def discovery(measured, published=()):
    return paper_table(LAYOUTS["4"], measured, published)


PUBLISHED = [
    score(61.9, dataset="VOC07", output="method", cad="no"),
    score(64.0, dataset="VOC12", output="method", cad="no"),
    score(62.0, dataset="VOC07", method="Ours (LOST)", output="method", cad="no"),
    score(42.1, dataset="VOC07", method="Ours (LOST)", output="h", cad="no"),
    score(65.7, dataset="VOC07", method="LOST", output="method", cad="yes"),
]


def test_h_is_in_brackets():
    table = discovery([score(62.04), score(42.06, output="h")])
    assert table.header == ["model", "scenes07"]
    assert table.rows == [["LOST", "62.0 (42.1)"]]


def test_h_alone():
    assert discovery([score(42.1, output="h")]).rows == [["LOST", "(42.1)"]]


def test_seeds_are_averaged():
    values = zip((61.0, 62.0, 63.0), (40.0, 42.0, 44.0), strict=True)
    measured = []
    for seed, (value, own) in enumerate(values):
        measured += [score(value, seed=str(seed)), score(own, seed=str(seed), output="h")]
    assert discovery(measured).rows == [["LOST", "62.0 ± 1.0 (42.0 ± 2.0)"]]


def of_images(correct, method="LOST", **labels):
    """A score with its outcomes of single images, in the order of their numbers."""
    content = {"outcomes": {"image_id": list(range(len(correct))), "correct": correct}}
    value = 100 * sum(correct) / len(correct)
    made = score(value, f"{method}{labels}.json", method=method, **labels)
    return replace(made, metrics=content)


@pytest.mark.parametrize(
    ("fixed", "broken", "arrow"),
    # McNemar's exact p of six alike is 2/64 = 0.03, of five 2/32 = 0.06.
    [(6, 0, "↑"), (5, 0, ""), (0, 6, "↓"), (8, 6, "")],
)
def test_an_arrow_tells_a_gain_from_chance(fixed, broken, arrow):
    before = [0] * fixed + [1] * broken + [1] * 4
    after = [1] * fixed + [0] * broken + [1] * 4
    made = discovery([of_images(before), of_images(after, "Ours (LOST)", seed="0")])
    own = 100 * sum(after) / len(after)
    assert made.rows[1][1] == f"{own:.1f}{arrow}"
    assert made.rows[0][1] == f"{100 * sum(before) / len(before):.1f}"


def test_an_arrow_needs_every_seed_on_one_side():
    before = of_images([0] * 8)
    better, same = [1] * 8, [0] * 8
    for others, arrow in (([better], "↑"), ([same], "")):
        seeds = [better, *others]
        ours = [of_images(c, "Ours (LOST)", seed=str(i)) for i, c in enumerate(seeds)]
        assert ("↑" in discovery([before, *ours]).rows[1][1]) is bool(arrow)


def test_cad_is_compared_with_cad_and_seed_with_seed():
    worse, better = [0] * 8, [1] * 8
    made = discovery(
        [
            of_images(better, cad="yes", seed="0"),
            of_images(worse, cad="yes", seed="1"),
            of_images(better, "Ours (LOST)", cad="yes", seed="0"),
            of_images(better, "Ours (LOST)", cad="yes", seed="1"),
        ]
    )
    assert "↑" not in made.rows[1][1]  # seed 0 gains nothing


def test_the_caption_has_the_sampling_error():
    made = discovery([of_images([0] * 100), of_images([1] * 100, "Ours (LOST)", seed="0")])
    # 1.96 · 0.5 / √100 = 0.098
    assert "±9.8 points" in made.caption
    assert "±9.8" not in discovery([of_images([0] * 100)]).caption


def test_empty_cells_and_cad_rows():
    table = discovery([score(1.0), score(2.0, dataset="scenes12", cad="yes")])
    assert table.header == ["model", "scenes07", "scenes12"]
    assert table.rows == [["LOST", "1.0", ""], ["LOST + CAD", "", "2.0"]]


def test_published_beside_measured():
    table = discovery([score(61.8, dataset="VOC07"), score(50.0)], PUBLISHED)
    assert table.header == ["model", "VOC07", "VOC07 published", "scenes07", "source"]
    assert table.rows == [
        ["LOST", "61.8", "61.9", "50.0", "measured"],
        ["Ours (LOST)", "", "62.0 (42.1)", "", "published"],
        ["LOST + CAD", "", "65.7", "", "published"],
    ]


def test_published_rows_without_a_value_in_any_column_are_left_out():
    table = discovery([score(64.1, dataset="VOC12")], PUBLISHED)
    assert table.rows == [["LOST", "64.1", "64.0", "measured"]]


def test_own_datasets_have_no_published_columns():
    table = discovery([score(50.0)], PUBLISHED)
    assert table.header == ["model", "scenes07"]
    assert table.rows == [["LOST", "50.0"]]


def test_rows_follow_the_paper_then_ours_then_the_controls():
    methods = ["Whole image", "Mine", "Centre box", "Ours (LOST)", "LOST"]
    table = discovery([score(1.0, method=method) for method in methods], PUBLISHED)
    assert [row[0] for row in table.rows] == [
        "LOST",
        "Ours (LOST)",
        "Mine",
        "Centre box",
        "Whole image",
    ]


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (
            [Score({"metric": "corloc", "method": "LOST"}, 1.0, "m.json")],
            "m.json: has no label dataset",
        ),
        ([score(1.0, metric="pointing_game")], "metric is pointing_game"),
        ([score(1.0, "a.json"), score(2.0, "b.json")], r"a\.json and b\.json have the same labels"),
        ([score(1.0, output="heatmap")], "output is heatmap"),
    ],
)
def test_scores_without_a_place(measured, message):
    with pytest.raises(InputError, match=message):
        discovery(measured)


def test_csv_reads_back():
    table = Table(["model", "VOC07"], [["Kim, et al.", '62.0 "h"'], ["LOST ± é", ""]], "caption")
    read = list(csv.reader(encode_csv(table).decode().splitlines()))
    assert read == [table.header, *table.rows]


def test_markdown_is_aligned():
    table = Table(["model", "VOC07"], [["LOST", "61.9"]], "CorLoc.")
    assert encode_markdown(table).decode() == (
        "| model | VOC07 |\n| ----- | ----: |\n| LOST  |  61.9 |\n\nCorLoc.\n"
    )


def test_ablations_by_heuristic_and_dataset():
    """Two decimals as in the paper, f at the end, published values where the dataset is theirs."""
    measured = [
        score(50.0, ablation=NOT_REFINED, heuristic="LOST"),
        score(51.25, ablation="k=1", heuristic="LOST", seed="0"),
        score(53.25, ablation="k=1", heuristic="LOST", seed="1"),
        score(60.0, ablation="w/o reg.", heuristic="TokenCut", dataset="VOC07"),
    ]
    published = [
        score(61.72, ablation="w/o reg.", heuristic="LOST", dataset="VOC07"),
        score(70.0, ablation="w/o reg.", heuristic="TokenCut", dataset="VOC07"),
    ]
    table = paper_table(LAYOUTS["6"], measured, published)
    assert table.header == [
        "ablation",
        "TokenCut VOC07",
        "TokenCut VOC07 published",
        "LOST scenes07",
        "source",
    ]
    assert table.rows == [
        ["w/o reg.", "60.00", "70.00", "", "measured"],
        ["k=1", "", "", "52.25 ± 1.41", "measured"],
        [NOT_REFINED, "", "", "50.00", "measured"],
    ]


def grounding(value, metric="pointing_game", **labels):
    full = {"method": "WWbL", "backbone": "CLIP", "train": "COCO", "test": "VG", "metric": metric}
    return Score({**full, **labels}, value, f"{value}.json")


def test_table_1_has_a_column_for_each_training_and_test_set():
    scores = [
        grounding(11.151, method="Random", backbone="Random", train="any"),
        grounding(59.09),
        grounding(62.31, train="VG"),
        grounding(75.0, test="Flickr30k"),
    ]
    table = paper_table(LAYOUTS["1"], scores)
    assert table.header == ["model", "COCO VG", "VG VG", "COCO Flickr30k"]
    assert table.rows == [
        ["Random", "11.15", "11.15", ""],
        ["WWbL (CLIP)", "59.09", "62.31", "75.00"],
    ]


def test_untrained_rows_alone_take_the_published_training_sets():
    published = [
        grounding(27.24, method="Random", backbone="Random", train=train, test="Flickr30k")
        for train in ("VG", "COCO")
    ] + [grounding(53.29, method="MG", test="Flickr30k")]
    measured = [grounding(26.26, method="Random", backbone="Random", train="any", test="Flickr30k")]
    table = paper_table(LAYOUTS["1"], measured, published)
    assert table.header == [
        "model",
        "VG Flickr30k",
        "VG Flickr30k published",
        "COCO Flickr30k",
        "COCO Flickr30k published",
        "source",
    ]
    assert table.rows == [
        ["Random", "26.26", "27.24", "26.26", "27.24", "measured"],
        ["MG (CLIP)", "", "", "", "53.29", "published"],
    ]
    alone = paper_table(LAYOUTS["1"], measured)
    assert alone.header == ["model", "any Flickr30k"]


def test_table_2_has_h_in_brackets():
    scores = [
        grounding(28.77, "bbox_accuracy", method="Ours"),
        grounding(27.1, "bbox_accuracy", method="Ours", output="h"),
        grounding(27.26, "bbox_accuracy", train="VG"),
    ]
    table = paper_table(LAYOUTS["2"], scores)
    assert table.header == ["training set, model", "VG"]
    assert table.rows == [["COCO, Ours", "28.77 (27.10)"], ["VG, WWbL", "27.26"]]


@pytest.mark.parametrize("table", ["2", "3"])
def test_maps_of_clip_alone_stand_beside_those_of_each_training_set(table):
    """And h, which learned them on one of the sets, in the brackets of that one."""
    scores = [
        grounding(10.0, "bbox_accuracy", method="GEM", train="any"),
        grounding(11.5, "bbox_accuracy", method="GEM", output="h"),
        grounding(27.26, "bbox_accuracy", train="VG"),
    ]
    assert paper_table(LAYOUTS[table], scores).rows == [
        ["COCO, GEM", "10.00 (11.50)"],
        ["VG, GEM", "10.00"],
        ["VG, WWbL", "27.26"],
    ]


def test_table_5_has_both_metrics():
    scores = [
        grounding(57.26, ablation="w/o box union"),
        grounding(25.11, "bbox_accuracy", ablation="w/o box union"),
    ]
    table = paper_table(LAYOUTS["5"], scores)
    assert table.header == ["ablation", "pointing_game VG", "bbox_accuracy VG"]
    assert table.rows == [["w/o box union", "57.26", "25.11"]]


@pytest.mark.parametrize("name", ["1", "2", "5"])
def test_the_published_tables_fit_their_layouts(name):
    path = Path(__file__).parents[3] / "workflow" / "published" / f"table{name}.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    scores = [Score(row, float(row.pop("value")), str(path)) for row in rows]
    table = paper_table(LAYOUTS[name], [scores[-1]], scores)
    assert "published" in {row[-1] for row in table.rows}
    assert table.rows[-1][-1] == "measured"


def test_published_labels_are_what_the_file_says(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text('method,dataset,value\nNA,,61.9\n"a, ""b""",null,1\n', "utf-8-sig")
    assert [(score.labels, score.value) for score in read_published(path)] == [
        ({"method": "NA", "dataset": ""}, 61.9),
        ({"method": 'a, "b"', "dataset": "null"}, 1.0),
    ]


@pytest.mark.parametrize(
    "lines", ["LOST,VOC07\n", "LOST,VOC07,\n", "more,LOST,VOC07,61.9\n", "LOST,VOC07,61.9,1\n", ""]
)
def test_lines_that_the_header_does_not_fit(tmp_path, lines):
    """pandas takes what stands before for names of lines."""
    (tmp_path / "p.csv").write_text(f"method,dataset,value\n{lines}")
    with pytest.raises(InputError, match="not a table of published numbers"):
        read_published(tmp_path / "p.csv")
