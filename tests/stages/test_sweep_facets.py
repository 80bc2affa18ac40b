"""sweep_facets.py and tabulate_facets.py on the command line."""

import json

import evaluate
import extract_features
import numpy as np
import pandas as pd
import pseudo_boxes
import pytest
import sweep_facets
import tabulate_facets
from PIL import Image

from bbr.storage.boxes_json import box_xyxy, read_boxes
from bbr.storage.swept_boxes_h5 import SweptBoxes

METHODS = {"tokencut": {"threshold": [0.1, 0.3]}, "lost": {"k_patches": [6]}, "found": {}}
LABELS = ("--label", "dataset=scenes", "backbone=tiny")


@pytest.fixture(scope="module")
def swept(scenes, tiny_backbone, tmp_path_factory):
    """Two facets of two of the blocks of the tiny backbone."""
    output = tmp_path_factory.mktemp("swept") / "swept.h5"
    options = ["--index", scenes, *tiny_backbone, "--facets", "value", "key_without_bias"]
    options += ["--blocks", -1, 0, "--methods", json.dumps(METHODS), *LABELS, "--output", output]
    assert sweep_facets.main([str(option) for option in options]) == 0
    return output


def test_boxes_are_those_of_extraction_and_heuristic(scenes, tiny_backbone, swept, tmp_path):
    with SweptBoxes(swept) as file:
        settings, boxes, ids = file.settings, file.boxes, file.image_id.tolist()
    assert len(settings) == 16
    for facet, block in (("value", 0), ("key_without_bias", -1)):
        features = tmp_path / f"{facet}.h5"
        options = ["--index", scenes, *tiny_backbone, "--facet", facet, "--block", block]
        assert extract_features.main([str(o) for o in [*options, "--output", features]]) == 0
        for method, words, given in (
            ("tokencut", "threshold=0.3", ["--threshold", "0.3"]),
            ("lost", "k_patches=6", ["--k-patches", "6"]),
            ("found", "defaults", []),
        ):
            output = tmp_path / "boxes.json"
            options = ["--method", method, *given, "--features", features, "--output", output]
            assert pseudo_boxes.main([str(option) for option in options]) == 0
            setting = {"method": method, "facet": facet, "block": block, "options": words}
            found = boxes[:, settings.index(setting)]
            alone = {each["image_id"]: box_xyxy(each) for each in read_boxes(output)}
            same = [np.allclose(found[row], alone[i], atol=1e-3) for row, i in enumerate(ids)]
            # The [CLS] attention of other batches may round a patch over FOUND's threshold.
            assert np.mean(same) >= (0.95 if method == "found" else 1)


def test_table_and_figure(scenes, swept, tmp_path):
    output = tmp_path / "facets.csv"
    options = ["--index", scenes, "--boxes", swept, "--output", output]
    assert tabulate_facets.main([str(option) for option in options]) == 0
    table = pd.read_csv(output)
    assert len(table) == 16
    assert Image.open(tmp_path / "facets.png").width > 500
    assert "95 %" in (tmp_path / "facets.md").read_text()
    with SweptBoxes(swept) as file:
        found, ids, settings = file.boxes, file.image_id.tolist(), file.settings
    number = 5
    x1, y1, x2, y2 = found[:, number].T.astype(float)
    records = [
        {"image_id": i, "category_id": 1, "bbox": [a, b, c - a, d - b], "score": 1.0}
        for i, a, b, c, d in zip(ids, x1, y1, x2, y2, strict=True)
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(records))
    options = ["--task", "corloc", "--index", scenes, "--boxes", tmp_path / "boxes.json"]
    assert evaluate.main([str(o) for o in [*options, "--output", tmp_path / "m.json"]]) == 0
    measured = json.loads((tmp_path / "m.json").read_text())
    row = table.iloc[number]
    assert row["CorLoc"] == round(measured["score"], 1)
    assert [row["low"], row["high"]] == [round(end, 1) for end in measured["interval"]]
    expected = settings[number]
    assert [row[key] for key in ("method", "facet", "block")] == [
        expected[key] for key in ("method", "facet", "block")
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--blocks", "9", "--methods", '{"found": {}}'], "block 9 does not exist"),
        (["--methods", '{"found": {"tau": [1]}}'], "has no option 'tau'"),
        (["--methods", "{}", "--weights", "efficientnet_lite0"], "only a transformer has facets"),
    ],
)
def test_what_cannot_be_swept(scenes, tiny_backbone, tmp_path, refused, more, message):
    options = ["--index", scenes, *tiny_backbone, *more]
    if "efficientnet_lite0" in more:
        options = ["--index", scenes, *more]
    assert message in refused(sweep_facets, *options, output=tmp_path / "s.h5")


def test_other_images_and_labels_are_told(scenes, swept, tiny_backbone, tmp_path, refused):
    (tmp_path / "other.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}],
                "categories": [{"id": 1, "name": "a"}],
            }
        )
    )
    options = ["--index", tmp_path / "other.json", "--boxes", swept]
    message = refused(tabulate_facets, *options, output=tmp_path / "f.csv")
    assert "which" in message
    assert "does not list" in message
    plain = ["--index", scenes, *tiny_backbone, "--methods", '{"center": {}}']
    plain += ["--output", tmp_path / "plain.h5"]
    assert sweep_facets.main([str(option) for option in plain]) == 0
    options = ["--index", scenes, "--boxes", tmp_path / "plain.h5"]
    assert "--label dataset=" in refused(tabulate_facets, *options, output=tmp_path / "f.csv")
    options = ["--index", scenes, scenes, "--boxes", swept]
    assert "each goes with its boxes" in refused(
        tabulate_facets, *options, output=tmp_path / "f.csv"
    )
