"""compare_metrics.py on the command line."""

import json
import re

import compare_metrics
import pytest


def metrics(correct, task="corloc", ids=None, **labels):
    score = 100 * sum(correct) / len(correct)
    return {
        "task": task,
        "labels": labels,
        "score": score,
        "interval": [score, score],
        "correct": sum(correct),
        "count": len(correct),
        "provenance": {},
        "outcomes": {
            "image_id": ids or list(range(len(correct))),
            "correct": correct,
            "iou": [float(c) for c in correct],
        },
    }


@pytest.fixture
def compared(tmp_path):
    """Run the stage on two metrics; returns its exit status and the path of its output."""

    def run(baseline, candidate, *more):
        paths = {}
        for name, content in (("baseline", baseline), ("candidate", candidate)):
            paths[name] = tmp_path / f"{name}.json"
            paths[name].write_text(json.dumps(content))
        output = tmp_path / "comparison.json"
        files = [text for name, path in paths.items() for text in (f"--{name}", str(path))]
        return compare_metrics.main([*files, "--output", str(output), *more]), output

    return run


def test_by_hand(compared, capsys):
    before = metrics([0] * 10 + [1] * 10, dataset="d", method="LOST")
    after = metrics([1] * 5 + [0] * 5 + [1] * 10, dataset="d", method="Ours (LOST)", seed="0")
    status, output = compared(before, after, "--label", "images=train")
    assert status == 0
    found = json.loads(output.read_text())
    assert (found["baseline"]["score"], found["candidate"]["score"]) == (50.0, 75.0)
    assert found["difference"] == 25.0
    assert (found["fixed"], found["broken"], found["count"]) == (5, 0, 20)
    assert found["p_value"] == pytest.approx(2 / 32)
    assert found["labels"] == {
        "dataset": "d",
        "method": "Ours (LOST)",
        "seed": "0",
        "images": "train",
    }
    assert found["baseline"]["labels"] == {"dataset": "d", "method": "LOST"}
    assert re.fullmatch(
        r"\+25\.00 points \[\+\d+\.\d\d, \+\d+\.\d\d\], 5 fixed, 0 broken, p = 0\.062\n",
        capsys.readouterr().out,
    )


def test_images_are_paired_by_id_not_by_position(compared):
    before = metrics([1, 0, 0], ids=[1, 2, 3])
    after = metrics([0, 0, 1], ids=[3, 2, 1])
    _, output = compared(before, after)
    found = json.loads(output.read_text())
    assert (found["fixed"], found["broken"]) == (0, 0)
    assert found["difference"] == 0


def test_given_labels_win(compared):
    _, output = compared(metrics([1], method="a"), metrics([1], method="b"), "--label", "method=c")
    assert json.loads(output.read_text())["labels"] == {"method": "c"}


@pytest.mark.parametrize(
    ("baseline", "candidate", "message"),
    [
        (metrics([1, 0]), metrics([1, 0], ids=[0, 7]), "different images: 2 .*first: 1"),
        (metrics([1]), metrics([1], task="pointing_game"), "corloc and .* pointing_game"),
        (metrics([1]), [], "not a metrics file"),
        ({"difference": 1}, metrics([1]), "not a metrics file"),
        (metrics([1]), {**metrics([1]), "outcomes": {}}, r"candidate\.json: holds no outcomes"),
        (metrics([1]), metrics([1], ids=[1, 2]), r"candidate\.json: has not one outcome"),
    ],
)
def test_bad_input_is_one_line(compared, capsys, baseline, candidate, message):
    status, output = compared(baseline, candidate)
    assert status == 1
    assert not output.exists()
    assert re.fullmatch(rf".* error: .*{message}.*\n", capsys.readouterr().err)
