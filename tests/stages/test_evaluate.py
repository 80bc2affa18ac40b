"""evaluate.py on the command line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest

from bbr.storage.rle import encode_mask

REPOSITORY = Path(__file__).parents[2]
PUBLISHED = REPOSITORY.parent / "shared/data/voc07_trainval"


def box(image_id, bbox, score=1.0):
    return {"image_id": image_id, "category_id": 1, "bbox": bbox, "score": score}


@pytest.fixture
def index(tmp_path):
    """Four images: an object each in 1 and 2, nothing in 3, a crowd only in 4."""
    content = {
        "info": {"image_root": "images"},
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(1, 5)],
        "annotations": [
            {"image_id": 1, "bbox": [0, 0, 10, 10], "category_id": 1, "iscrowd": 0},
            {"image_id": 1, "bbox": [50, 50, 10, 10], "category_id": 1, "iscrowd": 0},
            {"image_id": 2, "bbox": [0, 0, 10, 10], "category_id": 1, "iscrowd": 0},
            {"image_id": 4, "bbox": [0, 0, 10, 10], "category_id": 1, "iscrowd": 1},
        ],
    }
    path = tmp_path / "index.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def evaluated(tmp_path, index):
    """Run the stage on some boxes; returns its exit status and the path of its output."""

    def run(records, *more):
        boxes, output = tmp_path / "boxes.json", tmp_path / "metrics.json"
        boxes.write_text(records if isinstance(records, str) else json.dumps(records))
        files = ("--index", str(index), "--boxes", str(boxes), "--output", str(output))
        return evaluate.main(["--task", "corloc", *files, *more]), output

    return run


def test_by_hand(evaluated, capsys):
    """Image 1: half of the second object; 2: no box; 3: no object; 4: only a crowd."""
    records = [
        box(1, [90, 0, 5, 5], 0.1),
        box(1, [50, 50, 10, 5], 0.9),
        box(3, [0, 0, 10, 10]),
        box(4, [0, 0, 10, 10]),
    ]
    status, output = evaluated(records, "--label", "dataset=VOC07", "seed=0", "--label", "cad=no")
    assert status == 0
    assert capsys.readouterr().out == "25.00 (1 of 4)\n"
    metrics = json.loads(output.read_text())
    assert (metrics["score"], metrics["correct"], metrics["count"]) == (25.0, 1, 4)
    assert metrics["labels"] == {"dataset": "VOC07", "seed": "0", "cad": "no"}
    assert metrics["outcomes"] == {
        "image_id": [1, 2, 3, 4],
        "correct": [1, 0, 0, 0],
        "iou": [0.5, 0.0, 0.0, 0.0],
    }
    assert 0 <= metrics["interval"][0] < 25 < metrics["interval"][1] <= 100


def test_average_precision_and_recall_by_hand(evaluated):
    """One object of three is half found, hence at IoU 0.5 alone; the crowd's box is neither."""
    records = [box(1, [50, 50, 10, 5], 0.9), box(4, [0, 0, 10, 10])]
    _, output = evaluated(records, "--task", "ap")
    metrics = json.loads(output.read_text())
    # Precision is 1 up to recall 1/3, which 34 of 101 recalls are; recall 1/3 at one of ten IoUs.
    assert metrics["score"] == pytest.approx(100 * 34 / 101)
    assert metrics["ap"] == pytest.approx(10 * 34 / 101)
    assert (metrics["ap75"], metrics["ar100"]) == (0, pytest.approx(10 / 3))


def test_same_bytes_each_time(evaluated):
    _, output = evaluated([box(1, [0, 0, 10, 10])])
    first = output.read_bytes()
    _, output = evaluated([box(1, [0, 0, 10, 10])])
    assert output.read_bytes() == first


def test_no_boxes_at_all_is_a_score_of_zero(evaluated, capsys):
    status, _ = evaluated([])
    assert status == 0
    assert capsys.readouterr().out == "0.00 (0 of 4)\n"


@pytest.mark.parametrize(
    ("records", "more", "message"),
    [
        ([box(i, [0, 0, 1, 1]) for i in (1, 8, 9, 8, 11, 12)], (), "4 image ids .* 8, 9, 11"),
        ([box(1, [0, 0, -1, 1])], (), "negative size"),
        ('[{"image_id": 1, "bbox": [0, 0, NaN, 1], "score": 1}]', (), "finite"),
        ("[", (), "not valid JSON"),
        ([], ("--label", "dataset"), "key=value"),
        ([], ("--label", "seed=0", "seed=1"), "twice"),
    ],
)
def test_bad_input_is_one_line(evaluated, capsys, records, more, message):
    status, output = evaluated(records, *more)
    assert status == 1
    assert not output.exists()
    assert re.fullmatch(rf".* error: .*{message}.*\n", capsys.readouterr().err)


def test_index_without_ground_truth(evaluated, index, capsys):
    index.write_text(json.dumps({"images": [{"id": 1, "file_name": "1.jpg"}]}))
    status, _ = evaluated([box(1, [0, 0, 1, 1])])
    assert status == 1
    assert re.fullmatch(r".* error: .*no ground-truth boxes.*\n", capsys.readouterr().err)


def test_output_that_cannot_be_written(evaluated, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status, _ = evaluated([], "--output", str(tmp_path / "file" / "metrics.json"))
    assert status == 1
    assert re.fullmatch(r".* error: .*cannot make its folder.*\n", capsys.readouterr().err)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="LOST's published boxes are not here")
def test_published_boxes_of_lost_from_any_folder(tmp_path):
    """61.9 % on VOC2007 trainval is what LOST's paper reports."""
    command = [
        sys.executable,
        REPOSITORY / "stages/evaluate.py",
        "--task",
        "corloc",
        "--index",
        PUBLISHED / "index.json",
        "--boxes",
        PUBLISHED / "lost_boxes.json",
        "--output",
        "metrics.json",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("61.90 (3102 of 5011)\n", "")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["interval"] == pytest.approx([60.56, 63.25], abs=0.1)


class TestMasks:
    """Two images of 8 x 4 pixels; of the first the object is half found, of the second not."""

    @pytest.fixture
    def masked(self, tmp_path):
        masks = np.zeros((3, 4, 8), dtype=bool)
        masks[0, :2, :4] = True  # an object
        masks[1, :2, 2:4] = True  # half of it
        masks[2, 2:, 4:] = True  # elsewhere
        rle = [encode_mask(mask) for mask in masks]
        images = [
            {"id": i, "file_name": f"{i}.jpg", "width": 8, "height": 4, "license": 1}
            for i in (1, 2)
        ]
        truths = [
            {"image_id": i, "bbox": [0, 0, 4, 2], "category_id": 1, "segmentation": rle[0]}
            for i in (1, 2)
        ]
        content = {"info": {"image_root": "."}, "images": images, "annotations": truths}
        (tmp_path / "index.json").write_text(json.dumps(content))
        boxes = [
            {"image_id": 1, "bbox": [2, 0, 2, 2], "score": 0.9, "segmentation": rle[1]},
            {"image_id": 2, "bbox": [4, 2, 4, 2], "score": 0.8, "segmentation": rle[2]},
        ]
        (tmp_path / "boxes.json").write_text(json.dumps(boxes))
        return tmp_path

    @staticmethod
    def score(folder, task):
        files = ["--index", str(folder / "index.json"), "--boxes", str(folder / "boxes.json")]
        output = folder / f"{task}.json"
        status = evaluate.main(["--task", task, *files, "--output", str(output)])
        return json.loads(output.read_text()) if status == 0 else None

    def test_iou_and_saliency_by_hand(self, masked):
        found = self.score(masked, "mask_iou")
        assert found["outcomes"]["iou"] == [0.5, 0.0]
        assert (found["score"], found["correct"]) == (25.0, 1)
        # 4 of 32 pixels are missed in the first; 8 are missed and 8 wrong in the second.
        assert found["saliency"]["accuracy"] == pytest.approx(100 * (28 / 32 + 16 / 32) / 2)
        assert found["saliency"]["iou"] == pytest.approx(25)
        assert found["saliency"]["f_beta"] == pytest.approx(50 * 1.3 * 0.5 / (0.3 + 0.5))

    def test_average_precision_of_masks(self, masked):
        """The first counts at IoU 0.5: precision 1 up to recall 1/2, of 101 recalls 51."""
        found = self.score(masked, "mask_ap")
        assert found["score"] == pytest.approx(100 * 51 / 101)
        assert found["outcomes"]["found"] == [1, 0]

    @pytest.mark.parametrize("task", ["mask_iou", "mask_ap"])
    @pytest.mark.parametrize("file", ["index.json", "boxes.json"])
    def test_what_has_no_masks_is_one_line(self, masked, capsys, task, file):
        content = json.loads((masked / file).read_text())
        del (content if isinstance(content, list) else content["annotations"])[1]["segmentation"]
        (masked / file).write_text(json.dumps(content))
        assert self.score(masked, task) is None
        told = capsys.readouterr().err
        assert re.fullmatch(r".* error: .*an object of image 2 has no mask.*\n", told)

    @pytest.mark.parametrize("task", ["mask_iou", "mask_ap"])
    @pytest.mark.parametrize(
        ("damage", "told"),
        [
            ({"image_id": 9}, "image ids that the index does not have"),
            ({"segmentation": {"size": [4, 8], "counts": "Y1"}}, "image 1: a mask's run lengths"),
        ],
    )
    def test_wrong_boxes_are_one_line(self, masked, capsys, task, damage, told):
        records = json.loads((masked / "boxes.json").read_text())
        records[0] |= damage
        (masked / "boxes.json").write_text(json.dumps(records))
        assert self.score(masked, task) is None
        assert re.fullmatch(rf".* error: .*{told}.*\n", capsys.readouterr().err)

    @pytest.mark.parametrize("task", ["mask_iou", "mask_ap"])
    def test_crowds_are_no_objects(self, masked, capsys, task):
        content = json.loads((masked / "index.json").read_text())
        content["annotations"][0]["iscrowd"] = 1
        (masked / "index.json").write_text(json.dumps(content))
        found = self.score(masked, task)
        assert found["correct"] == 0
        content["annotations"][1]["iscrowd"] = 1
        (masked / "index.json").write_text(json.dumps(content))
        assert self.score(masked, task) is None
        assert "no ground-truth boxes" in capsys.readouterr().err
