"""Tables of gains cell by cell."""

import pytest

from bbr.errors import InputError
from bbr.reporting.gains import GAIN_LAYOUTS, Gain, gains_table
from bbr.reporting.tables import Score


def score(value, source="m.json", **labels):
    return Score({"dataset": "scenes07", "method": "LOST", **labels}, value, source)


def gain(difference=2.0, source="c.json", baseline=60.0, **labels):
    full = {
        "dataset": "scenes07",
        "images": "train",
        "method": "Ours (LOST)",
        "seed": "0",
        **labels,
    }
    return Gain(full, baseline, baseline + difference, difference, 0.012, source)


def discovery_gains(gains, detectors=()):
    return gains_table(GAIN_LAYOUTS["gains"], gains, detectors)


def test_gains_list_every_seed_and_the_mean():
    gains = [gain(d, seed=s) for d, s in ((2.0, "10"), (1.0, "2"), (3.0, "0"))]
    detectors = [score(45.0, method="Ours (LOST)", images="train", seed="2", output="h")]
    row = dict(zip(*_header_and_row(discovery_gains(gains, detectors)), strict=True))
    assert row == {
        "dataset": "scenes07",
        "images": "train",
        "method": "Ours (LOST)",
        "seeds": "0, 2, 10",
        "f": "60.00",
        "f^h": "63.00, 61.00, 62.00",
        "h": "–, 45.00, –",
        "gain": "+3.00, +1.00, +2.00",
        "McNemar p": "0.012, 0.012, 0.012",
        "mean gain": "+2.00",
        "95 % interval": "[-0.48, +4.48]",
    }


def _header_and_row(table):
    (row,) = table.rows
    return table.header, row


def test_gains_of_one_seed_have_no_interval():
    assert discovery_gains([gain()]).rows[0][-2:] == ["+2.00", "–"]


def test_baselines_that_differ_are_listed():
    table = discovery_gains([gain(seed="0"), gain(seed="1", baseline=61.0)])
    assert dict(zip(table.header, table.rows[0], strict=True))["f"] == "60.00, 61.00"


def test_one_row_per_dataset_images_and_method():
    table = discovery_gains([gain(), gain(images="held-out"), gain(method="Ours (DINO-seg)")])
    assert len(table.rows) == 3


def test_variants_have_rows_of_their_own():
    table = discovery_gains(
        [gain(), gain(variant="disturbed"), gain(variant="disturbed", cad="yes")]
    )
    assert [row[2] for row in table.rows] == [
        "Ours (LOST)",
        "Ours (LOST), disturbed",
        "Ours (LOST) + CAD, disturbed",
    ]


@pytest.mark.parametrize(
    ("gains", "detectors", "message"),
    [
        ([gain(), gain(source="d.json")], [], r"c\.json and d\.json have the same labels"),
        ([gain()], [score(1.0, images="train", seed="0", output="h")], "no comparison of scenes07"),
        ([gain()], [score(1.0, images="train", method="Ours (LOST)", seed="0")], "output=h"),
    ],
)
def test_bad_gains(gains, detectors, message):
    with pytest.raises(InputError, match=message):
        discovery_gains(gains, detectors)


def test_gains_need_their_labels():
    with pytest.raises(InputError, match="no label images"):
        discovery_gains([Gain({"dataset": "d", "method": "m"}, 1.0, 2.0, 1.0, 0.5, "c.json")])


def phrase_labels(**labels):
    return {
        "metric": "bbox_accuracy",
        "train": "captions",
        "test": "regions",
        "ablation": "Ours",
        "seed": "0",
        **labels,
    }


def test_gains_of_phrases():
    """Both metrics and an ablation are rows of their own; h was measured for one of them."""
    gains = [
        Gain(phrase_labels(**own), 20.0, 20.0 + d, d, 0.5, "c.json")
        for d, own in (
            (2.0, {}),
            (1.0, {"metric": "pointing_game"}),
            (3.0, {"box_threshold": "absolute"}),
            (-1.0, {"ablation": "w/o reg."}),
        )
    ]
    detectors = [Score(phrase_labels(output="h"), 30.0, "h.json")]
    table = gains_table(GAIN_LAYOUTS["phrase_gains"], gains, detectors)
    assert table.header[:7] == [
        "metric",
        "training set",
        "test set",
        "model",
        "seeds",
        "g",
        "g^h",
    ]
    assert table.rows == [
        [
            "bbox accuracy",
            "captions",
            "regions",
            "Ours",
            "0",
            "20.00",
            "22.00",
            "30.00",
            "+2.00",
            "0.5",
            "+2.00",
            "–",
        ],
        [
            "pointing game",
            "captions",
            "regions",
            "Ours",
            "0",
            "20.00",
            "21.00",
            "–",
            "+1.00",
            "0.5",
            "+1.00",
            "–",
        ],
        [
            "bbox accuracy, absolute",
            "captions",
            "regions",
            "Ours",
            "0",
            "20.00",
            "23.00",
            "–",
            "+3.00",
            "0.5",
            "+3.00",
            "–",
        ],
        [
            "bbox accuracy",
            "captions",
            "regions",
            "w/o reg.",
            "0",
            "20.00",
            "19.00",
            "–",
            "-1.00",
            "0.5",
            "-1.00",
            "–",
        ],
    ]
