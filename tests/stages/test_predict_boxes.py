"""predict_boxes.py on the command line."""

import json
import shutil

import predict_boxes
import pytest
import torch
from safetensors.torch import save_file
from small_runs import (
    ONE_THREAD,
    assert_refused,
    command,
    kill_at_first_line,
    make_boxes,
    make_detector,
    make_index,
    make_inputs,
)

from bbr.detector.inputs_h5 import DetectorInputs
from bbr.detector.layout import arrange
from bbr.detector.networks import load_detector
from bbr.storage.boxes_json import read_boxes
from bbr.storage.json_files import read_json

COUNT = 5


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Scenes whose index calls them wide, so that width and height cannot be confused."""
    folder = tmp_path_factory.mktemp("data")
    index = make_index(folder, COUNT)
    inputs = make_inputs(index, folder / "inputs.h5")
    boxes = make_boxes(index, folder / "boxes.json")
    detector = make_detector(inputs, boxes, index, folder / "h.safetensors")
    content = read_json(index)
    for number, image in enumerate(content["images"]):
        image |= {"width": 200 + 10 * number, "height": 100}
    index.write_text(json.dumps(content))
    return {"index": index, "inputs": inputs, "detector": detector}


def arguments(data, output, **changes):
    return [*command(**(data | {"output": output} | changes)), *ONE_THREAD]


def predict(data, output, **changes):
    assert predict_boxes.main(arguments(data, output, **changes)) == 0
    return output


def test_same_bytes_each_time(data, tmp_path):
    first, second = predict(data, tmp_path / "a.json"), predict(data, tmp_path / "b.json")
    assert first.read_bytes() == second.read_bytes()
    metas = [path.with_suffix(".meta.json").read_bytes() for path in (first, second)]
    assert metas[0] == metas[1]
    provenance = json.loads(metas[0])["provenance"]
    assert provenance["stage"] == "predict_boxes"
    assert sorted(provenance["inputs"]) == ["detector", "index", "inputs"]


@torch.no_grad()
def slow_record(data, position):
    """Image by image: h's box of greatest object probability, clipped to the image."""
    image = json.loads(data["index"].read_text())["images"][position]
    detector = load_detector(data["detector"])
    with DetectorInputs(data["inputs"]) as inputs:
        maps = arrange(inputs.batch(torch.tensor([position])), inputs.grid, "spatial")
    logits, boxes = detector(maps)
    scores = [float(pair.softmax(dim=0)[0]) for pair in logits[0]]
    best = scores.index(max(scores))
    cx, cy, w, h = boxes[0, best].tolist()
    left, right = (min(max(x, 0), 1) * image["width"] for x in (cx - w / 2, cx + w / 2))
    top, bottom = (min(max(y, 0), 1) * image["height"] for y in (cy - h / 2, cy + h / 2))
    return image["id"], max(scores), [left, top, right - left, bottom - top]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_one_box_an_image_as_worked_out_one_by_one(data, tmp_path, batch_size):
    records = read_boxes(predict(data, tmp_path / "boxes.json", batch_size=batch_size))
    assert len(records) == COUNT
    for position, record in enumerate(records):
        image_id, score, box = slow_record(data, position)
        assert record["image_id"] == image_id
        assert record["category_id"] == 1
        # Boxes are written to a thousandth of a pixel; h's float32 sums differ by less.
        assert record["bbox"] == pytest.approx(box, abs=2e-3)
        assert record["score"] == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("edges", predict_boxes.EDGES)
def test_edges_by_hand(edges):
    """A box that leaves the image at the left and below: 40 high and 200 wide."""
    box = torch.tensor([[0.02, 0.9, 0.0708, 0.3]])  # -3.08, 30, 11.08, 42 from the left on
    found = predict_boxes._in_pixels(box, (40, 200), edges)[0].tolist()
    assert found == pytest.approx(
        {
            "clipped": [0, 30, 11.08, 40],
            "free": [-3.08, 30, 11.08, 42],
            "whole": [-3, 30, 11, 42],  # towards zero
        }[edges],
        abs=1e-4,
    )


def test_edges_are_written_and_recorded(data, tmp_path):
    plain = read_boxes(predict(data, tmp_path / "a.json", edges="free"))
    whole = read_boxes(predict(data, tmp_path / "b.json", edges="whole"))
    for exact, record in zip(plain, whole, strict=True):
        x, y, width, height = exact["bbox"]
        assert record["bbox"][:2] == [int(x), int(y)]
        assert record["bbox"][2:] == [int(x + width) - int(x), int(y + height) - int(y)]
    recorded = json.loads((tmp_path / "b.meta.json").read_bytes())["provenance"]["parameters"]
    assert recorded["edges"] == "whole"


def test_bf16_is_near(data, tmp_path):
    exact = read_boxes(predict(data, tmp_path / "a.json"))
    rough = read_boxes(predict(data, tmp_path / "b.json", precision="bf16"))
    for one, other in zip(exact, rough, strict=True):
        # bf16 keeps 8 bits: some per cent of a score, unless another box wins by it.
        assert other["score"] == pytest.approx(one["score"], abs=0.03)


def test_inputs_of_some_of_the_images(data, tmp_path):
    content = read_json(data["index"])
    content["images"].append({"id": 99, "file_name": "more.jpg", "width": 10, "height": 10})
    index = tmp_path / "index.json"
    index.write_text(json.dumps(content))
    records = read_boxes(predict(data | {"index": index}, tmp_path / "boxes.json"))
    assert len(records) == COUNT


def test_after_a_kill_the_same_bytes(data, tmp_path):
    output = tmp_path / "killed" / "boxes.json"
    kill_at_first_line("predict_boxes", arguments(data, output, batch_size=1))
    assert not output.exists() or len(read_boxes(output)) == COUNT
    assert predict(data, output).read_bytes() == predict(data, tmp_path / "b.json").read_bytes()


@pytest.fixture(scope="module")
def wrong(data, tmp_path_factory):
    """Inputs and detectors that do not belong to `data`, by name."""
    folder = tmp_path_factory.mktemp("wrong")
    more = make_index(folder / "more", COUNT + 2)
    boxes = make_boxes(more, folder / "boxes.json")
    keys = make_inputs(more, folder / "keys.h5", "--parts", "k")
    foreign = folder / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, foreign)
    cut = folder / "cut.safetensors"
    shutil.copy(data["detector"], cut)
    cut.write_bytes(cut.read_bytes()[:-100])
    flipped = folder / "flipped.safetensors"
    content = bytearray(data["detector"].read_bytes())
    content[-3] ^= 1
    flipped.write_bytes(content)
    return {
        "more images": {"inputs": make_inputs(more, folder / "more.h5")},
        "keys of h for qkv": {"inputs": keys, "index": more},
        "h for keys": {"detector": make_detector(keys, boxes, more, folder / "keys.safetensors")},
        "no detector": {"detector": foreign},
        "truncated detector": {"detector": cut},
        "altered detector": {"detector": flipped},
        "no file": {"detector": folder / "none.safetensors"},
        "detector for inputs": {"inputs": foreign},
    }


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("more images", r"more\.h5: of images that .*index\.json does not have"),
        ("keys of h for qkv", "maps give 32 channels, but h was trained on 96"),
        ("h for keys", "maps give 96 channels, but h was trained on 32"),
        ("no detector", "holds no detector"),
        ("truncated detector", "not a complete safetensors file"),
        ("altered detector", "content does not match its digest"),
        ("no file", "no such file"),
        ("detector for inputs", "truncated or damaged"),
    ],
)
def test_what_does_not_belong_together(data, wrong, tmp_path, capsys, case, message):
    output = tmp_path / "boxes.json"
    status = predict_boxes.main(arguments(data | wrong[case], output))
    assert_refused(status, capsys.readouterr().err, message, output)
    assert list(tmp_path.iterdir()) == []


def test_output_that_cannot_be_written(data, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status = predict_boxes.main(arguments(data, tmp_path / "file" / "boxes.json"))
    assert status == 1
    assert "cannot make its folder" in capsys.readouterr().err


def test_output_of_another_kind(data, tmp_path, capsys):
    output = tmp_path / "boxes.csv"
    status = predict_boxes.main(arguments(data, output))
    assert_refused(status, capsys.readouterr().err, r"ends in \.json", output)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(data, tmp_path, capsys):
    output = tmp_path / "boxes.json"
    status = predict_boxes.main(arguments(data, output, device="cuda"))
    assert_refused(status, capsys.readouterr().err, "--device cuda: no CUDA device", output)
