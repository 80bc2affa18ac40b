"""Heatmaps as what h reads, and the boxes of each phrase as its targets."""

import json
import math

import numpy as np
import pytest
import torch

from bbr.data.augmentation import flip_maps
from bbr.data.box_ops import to_cxcywh
from bbr.data.index import Index
from bbr.detector.inputs_h5 import DetectorInputs, create_detector_inputs
from bbr.detector.layout import arrange
from bbr.detector.networks import DetectorSpec, build_detector, initialize_trunk
from bbr.detector.set_loss import LossWeights, choose_boxes, set_loss
from bbr.detector.targets import TargetRules, as_target_list
from bbr.errors import InputError
from bbr.grounding.contours import ContourOptions
from bbr.grounding.heatmap_inputs import (
    HeatmapInputs,
    load_phrase_targets,
    map_targets,
    open_inputs,
)
from bbr.grounding.heatmaps_h5 import create_heatmaps
from bbr.storage.safetensors_files import write_tensors

ROWS = [(1, 5), (1, 6), (2, 5)]


@pytest.fixture
def heatmaps(tmp_path):
    path = tmp_path / "heatmaps.h5"
    with create_heatmaps(path, size=(4, 6), provenance={}) as file:
        for i, (image, phrase) in enumerate(ROWS):
            file.append(image, phrase, torch.arange(24).view(4, 6) / 32 + i / 8)
    return path


@pytest.fixture
def index(tmp_path):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 20, "height": 10} for i in (1, 2)]
    return Index(images, [], [], {}, tmp_path / "index.json")


def test_a_heatmap_is_a_map_of_one_channel(heatmaps):
    with open_inputs(heatmaps) as inputs:
        assert isinstance(inputs, HeatmapInputs)
        assert (inputs.grid, inputs.shape) == ((4, 6), (1, 24, 1))
        maps = arrange(inputs.batch(torch.tensor([2, 0, 2])), inputs.grid, "spatial")
    expected = torch.arange(24).view(1, 4, 6) / 32
    torch.testing.assert_close(maps, torch.stack([expected + 0.25, expected, expected + 0.25]))


def test_other_inputs_open_as_before(tmp_path):
    path = tmp_path / "inputs.h5"
    with create_detector_inputs(
        path,
        count=1,
        shape=(1, 4, 3),
        grid=(2, 2),
        image_size=8,
        parts="k",
        dtype="float32",
        provenance={},
    ) as file:
        file["image_id"][:] = [1]
        file["maps"][:] = np.zeros((1, 1, 4, 3))
    with open_inputs(path) as inputs:
        assert isinstance(inputs, DetectorInputs)
    with pytest.raises(InputError, match="no such file"):
        open_inputs(tmp_path / "none.h5")


def write_boxes(path, *records):
    """Each record an image_id, a phrase_id or None, a box and a score."""
    keys = ("image_id", "phrase_id", "bbox", "score")
    named = [dict(zip(keys, record, strict=True)) for record in records]
    path.write_text(json.dumps([{k: v for k, v in n.items() if v is not None} for n in named]))
    return path


def test_all_boxes_of_a_phrase_are_its_targets(tmp_path, index):
    path = write_boxes(
        tmp_path / "boxes.json",
        (2, 5, [0, 0, 20, 10], 0.9),
        (1, 6, [0, 0, 10, 10], 0.5),
        (1, 6, [10, 5, 10, 5], 0.8),
    )
    positions, targets = load_phrase_targets(path, index, ROWS)
    assert positions.tolist() == [1, 2]
    assert targets.shape == (2, 2, 4)
    first, second = as_target_list(targets)
    torch.testing.assert_close(first, torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.75, 0.75, 0.5, 0.5]]))
    torch.testing.assert_close(second, torch.tensor([[0.5, 0.5, 1.0, 1.0]]))


RELEASE = TargetRules("best", 0.05, "no_object")


def test_targets_as_the_released_code_chooses_them():
    """Box by box: k of them, best first as the file has them, then none of a side below 5 %."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        xyxy = np.sort(rng.random((6, 2, 2)), axis=1).reshape(6, 4)
        xyxy[rng.integers(6), 2] = xyxy[0, 0]  # some that are thin
        expected = []
        for x1, y1, x2, y2 in xyxy[:4]:
            if x2 - x1 >= 0.05 and y2 - y1 >= 0.05:
                expected.append([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
        boxes = to_cxcywh(torch.tensor(xyxy))
        torch.testing.assert_close(RELEASE.select(boxes, 4).tolist(), expected)
        assert torch.equal(TargetRules().select(boxes.abs(), 4), boxes.abs())


def test_a_map_without_a_target_is_answered_by_no_object(tmp_path, index):
    path = write_boxes(
        tmp_path / "boxes.json", (2, 5, [0, 0, 20, 10], 0.9), (1, 6, [0, 0, 0.9, 10], 0.5)
    )
    assert load_phrase_targets(path, index, ROWS)[0].tolist() == [1, 2]
    positions, targets = load_phrase_targets(path, index, ROWS, RELEASE, 10)
    assert positions.tolist() == list(range(len(ROWS)))
    assert [len(own) for own in as_target_list(targets)] == [0, 0, 1]
    # What is learned then is the class alone, of which the weighted mean is -log p(no object).
    logits = torch.randn(1, 3, 2)
    losses = set_loss(logits, torch.rand(1, 3, 4), [torch.zeros(0, 4)], LossWeights())
    expected = -logits.log_softmax(-1)[..., 1].mean()
    torch.testing.assert_close(losses["total"], 2 * expected)


def test_boxes_of_the_current_map_and_of_one_that_has_none():
    maps, instead = torch.zeros(2, 40, 40), [torch.rand(1, 4), torch.rand(2, 4)]
    maps[0, 10:30, 5:25] = 1
    options = ContourOptions()
    found, stands_in = map_targets(maps, instead, options)
    torch.testing.assert_close(found, torch.tensor([[15 / 40, 20 / 40, 0.5, 0.5]]))
    assert stands_in is instead[1]
    assert [len(own) for own in map_targets(maps, instead, options, RELEASE, 10)] == [1, 0]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ((1, None, [0, 0, 5, 5], 1.0), "no phrase_id"),
        ((2, 6, [0, 0, 5, 5], 1.0), "boxes of phrases that the heatmaps do not have"),
        (None, "holds no boxes"),
    ],
)
def test_boxes_of_other_heatmaps_are_refused(tmp_path, index, record, message):
    path = write_boxes(tmp_path / "boxes.json", *([] if record is None else [record]))
    with pytest.raises(InputError, match=message):
        load_phrase_targets(path, index, ROWS)


def test_mirroring_keeps_each_set_of_boxes_together():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(16, 1, 4, 4)
    boxes = torch.rand(16, 2, 4)
    boxes[3, 1] = torch.nan
    flipped, mirrored = flip_maps(maps, boxes, generator)
    turned = [not torch.equal(a, b) for a, b in zip(maps, flipped, strict=True)]
    assert 0 < sum(turned) < 16
    for i, turn in enumerate(turned):
        expected = boxes[i].clone()
        if turn:
            expected[:, 0] = 1 - expected[:, 0]
            assert torch.equal(flipped[i], maps[i].flip(-1))
        torch.testing.assert_close(mirrored[i], expected, equal_nan=True)
    assert [len(t) for t in as_target_list(mirrored)][:5] == [2, 2, 2, 1, 2]


def test_h_names_all_it_takes_for_objects():
    logits = torch.tensor([[[2.0, 0], [0, 1], [1, 0]], [[0, 3], [0, 1], [0, 2]]])
    boxes = torch.rand(2, 3, 4)
    (scores, several), (_, likeliest) = choose_boxes(logits, boxes, several=True)
    assert torch.equal(several, boxes[0, [0, 2]])
    torch.testing.assert_close(scores, torch.tensor([2.0, 1.0]).sigmoid())
    assert torch.equal(likeliest, boxes[1, [1]])
    assert [len(found) for _, found in choose_boxes(logits, boxes, several=False)] == [1, 1]


def test_h_that_takes_nothing_for_an_object_has_no_box():
    """The released code's rule, box by box: object probability above one half, and nothing else."""
    torch.manual_seed(0)
    logits, boxes = torch.randn(40, 3, 2) - torch.tensor([1.0, 0.0]), torch.rand(40, 3, 4)
    found = choose_boxes(logits, boxes, several=True, undecided="none")
    for (scores, chosen), pairs, own in zip(found, logits.tolist(), boxes, strict=True):
        odds = [math.exp(a) / (math.exp(a) + math.exp(b)) for a, b in pairs]
        kept = [i for i, p in enumerate(odds) if p > 0.5]
        assert torch.equal(chosen, own[kept])
        assert scores.tolist() == pytest.approx([odds[i] for i in kept])
    assert 0 < sum(len(chosen) == 0 for _, chosen in found) < 40


def test_cells_become_channels():
    torch.manual_seed(0)
    h = build_detector(DetectorSpec("attention", "spatial", 1, num_boxes=2, width=8, cell=4))
    logits, boxes = h(torch.rand(3, 1, 16, 32))
    assert (logits.shape, boxes.shape) == ((3, 2, 2), (3, 2, 4))
    assert h.reduce.in_channels == 16


@pytest.mark.slow
def test_the_papers_h_reads_one_channel_as_grey(tmp_path):
    torch.manual_seed(0)
    h = build_detector(DetectorSpec("vgg16", "spatial", 1, num_boxes=10)).eval()
    assert h.network.classifier[6].weight.shape == (60, 4096)
    pretrained = build_detector(DetectorSpec("vgg16", "spatial", 3)).network.state_dict()
    write_tensors(tmp_path / "vgg.safetensors", pretrained, {})
    initialize_trunk(h, tmp_path / "vgg.safetensors")
    maps = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        logits, boxes = h(maps)
        grey = h.network(maps.repeat(1, 3, 1, 1)).view(1, 10, 6)
    torch.testing.assert_close(logits, grey[..., 4:])
    torch.testing.assert_close(boxes, grey[..., :4].sigmoid())
    for name in ("features.0.weight", "classifier.3.bias"):
        assert torch.equal(h.network.state_dict()[name], pretrained[name])
    with pytest.raises(InputError, match="vgg16 reads 1 or 3 channels"):
        build_detector(DetectorSpec("vgg16", "spatial", 5))


def test_the_boxes_of_a_map_are_targets_and_others_stand_in_where_it_has_none():
    maps = torch.zeros(2, 10, 20)
    maps[0, 2:6, 5:15] = 0.9
    given = [torch.zeros(1, 4), torch.tensor([[0.5, 0.5, 0.2, 0.2]])]
    found, instead = map_targets(maps, given, ContourOptions("pseudo"))
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.4, 0.5, 0.4]]))
    assert instead is given[1]
