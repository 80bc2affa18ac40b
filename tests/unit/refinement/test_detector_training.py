"""The training of h: what it begins as, and what it learns of which maps."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bbr.data.index import Index
from bbr.detector.networks import DetectorSpec
from bbr.detector.set_loss import LossWeights
from bbr.errors import InputError
from bbr.heuristics.registry import TrainingHeuristic, heuristic_options
from bbr.refinement.detector_batches import CachedBatches
from bbr.refinement.detector_training import (
    Augmentation,
    AugmentedBackbone,
    Recipe,
    Targets,
    new_detector,
)
from bbr.training.perturbation import PerturbationOptions
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Clipping

SPEC = DetectorSpec("attention", "spatial", 0, num_boxes=3, width=8)
# Two images of 4 × 6 patches, d = 5, keys alone.
MAPS = SimpleNamespace(
    path=Path("maps.h5"), grid=(4, 6), shape=(1, 24, 5), image_id=torch.tensor([1, 2])
)


def index(*ids):
    images = [{"id": i, "file_name": f"{i}.png", "width": 20, "height": 10} for i in ids]
    return Index(images, [], [], {}, Path("index.json"))


def recipe(**changes):
    given = {
        "network": SPEC,
        "targets": Targets(),
        "augmentation": Augmentation(),
        "clipping": Clipping(),
        "loss_weights": LossWeights(),
        "backbone": AugmentedBackbone(),
        "heuristic": TrainingHeuristic("lost", heuristic_options("lost", {})),
        "start": PerturbationOptions(),
        "training": TrainingOptions(),
    }
    return Recipe(**given | changes)


@pytest.fixture
def boxes(tmp_path):
    """The left half of image 2."""
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([{"image_id": 2, "bbox": [0, 0, 10, 10], "score": 1.0}]))
    return path


def test_a_new_detector_fits_its_maps():
    detector = new_detector(SPEC, MAPS, None, 0)
    logits, found = detector(torch.zeros(2, 5, 4, 6))
    assert (logits.shape, found.shape) == ((2, 3, 2), (2, 3, 4))


def test_the_seed_makes_it():
    first, again, other = (new_detector(SPEC, MAPS, None, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_cells_that_do_not_divide_the_maps():
    spec = DetectorSpec("attention", "spatial", 0, cell=3)
    with pytest.raises(InputError, match=r"--cell 3: does not divide maps of \(4, 6\) \(maps.h5\)"):
        new_detector(spec, MAPS, None, 0)


def test_targets_by_hand(boxes):
    positions, found = recipe().find_targets(boxes, index(1, 2), MAPS)
    assert positions.tolist() == [1]
    assert found.tolist() == [[0.25, 0.5, 0.5, 1.0]]


def test_maps_of_other_images(boxes):
    with pytest.raises(InputError, match=r"inputs maps\.h5: of other images than index\.json"):
        recipe().find_targets(boxes, index(1, 2, 3), MAPS)


def test_batches_of_a_file_count_what_has_a_target(boxes):
    positions, found = recipe().find_targets(boxes, index(1, 2), MAPS)
    batches = recipe(augmentation=Augmentation(0.5, "flip_maps")).cached(MAPS, positions, found)
    assert isinstance(batches, CachedBatches)
    assert (len(batches), batches.flip, batches.channel_dropout) == (1, True, 0.5)


def test_augmented_images_need_f():
    with pytest.raises(InputError, match="needs f; add --weights"):
        recipe().load_backbone(MAPS)
