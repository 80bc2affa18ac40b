"""What CAD sees at each step."""

import json

import pytest
import torch
from PIL import Image

from bbr.cad.batches import CadBatches, PseudoLabelled, mirror
from bbr.cad.network import build_cad
from bbr.cad.options import CadPrediction, CadSpec, CadTraining
from bbr.data.index import load_index
from bbr.errors import InputError
from bbr.training.loop import batch_indices, step_generator

SIZE = (64, 48)  # width, height


@pytest.fixture
def make(tmp_path):
    """Images of these sizes and their boxes, [x, y, w, h]; the data and its index."""

    def build(boxes, sizes):
        images = []
        for i, size in enumerate(sizes, 1):
            torch.manual_seed(i)
            pixels = torch.randint(256, (size[1], size[0], 3), dtype=torch.uint8).numpy()
            Image.fromarray(pixels).save(tmp_path / f"{i}.png")
            images.append({"id": i, "file_name": f"{i}.png", "width": size[0], "height": size[1]})
        (tmp_path / "index.json").write_text(json.dumps({"images": images}))
        records = [{"image_id": i, "bbox": b, "score": 1.0} for i, b in enumerate(boxes, 1)]
        (tmp_path / "boxes.json").write_text(json.dumps(records))
        return PseudoLabelled(load_index(tmp_path / "index.json"), str(tmp_path / "boxes.json"))

    return build


def small_cad(**changes):
    torch.manual_seed(0)
    spec = CadSpec("tf_efficientnet_lite0", map_level=3, frozen_levels=2, roi_size=4)
    training = CadTraining(**{"train_sizes": (48,), **changes})
    return build_cad(spec, None, training, CadPrediction()).train()


def test_mirrored():
    image = torch.arange(12, dtype=torch.uint8).view(1, 2, 6).expand(3, 2, 6)
    flipped, box = mirror(image, torch.tensor([1.0, 0, 3, 2]))
    assert flipped[0].tolist() == [[5, 4, 3, 2, 1, 0], [11, 10, 9, 8, 7, 6]]
    assert box.tolist() == [3, 0, 5, 2]


def test_images_without_a_usable_box_are_left_out(make):
    data = make([[1, 2, 30, 40], [5, 5, 0.5, 9], [0, 0, 64, 48]], [SIZE] * 4)
    assert [record["file_name"] for record in data.records] == ["1.png", "3.png"]
    torch.testing.assert_close(data.boxes, torch.tensor([[1.0, 2, 31, 42], [0, 0, 64, 48]]))
    assert [tuple(image.shape) for image in data.images([1, 0])] == [(3, 48, 64)] * 2


def test_no_usable_box(make):
    with pytest.raises(InputError, match="no box of a pixel"):
        make([[1, 2, 0, 40]], [SIZE])


def test_kept_batches_are_those_seen_afresh(make):
    data = make([[4 * i, 2, 20, 30] for i in range(5)], [SIZE] * 5)
    network = small_cad()
    kept, fresh = CadBatches(data, 4, seed=0), CadBatches(data, 4, seed=0)
    kept.cache_features(network, steps=100)
    assert kept._kept is not None
    for step in range(3):
        one = kept.batch(step, step_generator(0, step), network)
        other = fresh.batch(step, step_generator(0, step), network)
        # Convolutions of other batch sizes add in another order: float32's rounding.
        torch.testing.assert_close(one.features, other.features, rtol=1e-4, atol=1e-5)
        assert (one.sizes, one.padded) == (other.sizes, other.padded)
        torch.testing.assert_close(torch.cat(one.boxes), torch.cat(other.boxes))


def test_about_half_are_mirrored(make):
    data = make([[0, 0, 20, 48]], [SIZE])
    batches = CadBatches(data, 400, seed=0)
    network = small_cad()
    batches.cache_features(network, steps=1)
    seen = batches.batch(0, step_generator(0, 0), network)
    left = torch.cat(seen.boxes)[:, 0]
    assert set(left.tolist()) == {0, 44}
    assert 160 < (left == 0).sum() < 240  # four standard deviations of 400 coin tosses


@pytest.mark.parametrize(
    ("sizes", "train_sizes", "steps"),
    [
        ([SIZE, (32, 32)], (48,), 100),  # images of several sizes
        ([SIZE] * 2, (48, 64), 100),  # several scales
        ([SIZE] * 2, (48,), 1),  # too few steps for it to pay
    ],
)
def test_nothing_is_kept_where_steps_differ_in_more(make, sizes, train_sizes, steps):
    batches = CadBatches(make([[1, 1, 9, 9]] * 2, sizes), 2, seed=0)
    batches.cache_features(small_cad(train_sizes=train_sizes), steps)
    assert batches._kept is None


def test_processes_share_a_batch(make):
    data = make([[1, 1, 9, 9]] * 6, [SIZE] * 6)
    parts = [CadBatches(data, 4, seed=0, rank=rank, ranks=2)._positions(3) for rank in (0, 1)]
    assert sorted(parts[0] + parts[1]) == sorted(batch_indices(6, 4, 0, 3).tolist())
    assert [len(part) for part in parts] == [2, 2]
