"""Several boxes per image: order, scores, and that what is found is left out."""

import numpy as np
import pytest
import torch

from bbr.backbones.feature_maps import FeatureMaps
from bbr.errors import InputError
from bbr.heuristics.multi_box import SEVERAL, propose_scored, propose_several, separation
from bbr.heuristics.registry import heuristic_options, propose_boxes


def batch(key, grid, patch_size=10.0):
    """Maps of three heads, all of which look at the first patch least."""
    sizes = np.tile(np.array(grid) * int(patch_size), (len(key), 1))
    attention = torch.ones(len(key), 3, key.shape[1])
    attention[:, :, 0] = 0.5
    return FeatureMaps(key, grid, attention, image_sizes=sizes, patch_size=patch_size)


def random_batch():
    key = torch.randn(4, 48, 6, generator=torch.Generator().manual_seed(0))
    return batch(key, (6, 8))


def propose(features, method, most, **options):
    return propose_several(features, method, heuristic_options(method, options), most)


# Two objects, of two and three patches, each in a channel of its own, before a background.
#   . A A . .
#   . . . . .
#   . B B B .
OBJECTS = torch.zeros(15, 3)
OBJECTS[:, 2] = 1
OBJECTS[1:3] = torch.tensor([1.0, 0.0, 0.0])
OBJECTS[11:14] = torch.tensor([0.0, 1.0, 0.0])
BOXES = [[10, 0, 30, 10], [10, 20, 40, 30]]


@pytest.mark.parametrize("method", SEVERAL)
def test_first_one_object_and_then_the_other(method):
    (found,) = propose(batch(OBJECTS[None], (3, 5)), method, 2)
    assert sorted(each.box for each in found) == BOXES
    # Within an object all cosines are 1, and 0 to the rest.
    assert [each.score for each in found] == pytest.approx([1, 1])
    objects = OBJECTS[:, :2].reshape(3, 5, 2).bool().numpy()
    of_box = {tuple(box): objects[..., i] for i, box in enumerate(BOXES)}
    for each in found:
        assert (each.mask.cells == of_box[tuple(each.box)]).all()
        assert each.mask.cell.tolist() == [10, 10]


@pytest.mark.parametrize("method", SEVERAL)
def test_no_more_than_there_are_patches_to_find(method):
    (found,) = propose(batch(OBJECTS[None], (3, 5)), method, 50)
    if method == "most":  # the background is like too many patches to be a pool
        assert len(found) == 2
    else:
        assert 3 <= len(found) <= 15


@pytest.mark.parametrize("method", SEVERAL)
def test_the_first_is_the_method_s_own_box_and_scores_do_not_rise(method):
    features = random_batch()
    own = propose_boxes(features, method, heuristic_options(method, {})).tolist()
    several = propose(features, method, 4)
    assert [found[0].box for found in several] == own
    for found in several:
        scores = [each.score for each in found]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize("method", SEVERAL)
def test_fewer_boxes_are_the_first_of_more(method):
    features = random_batch()
    fewer, more = propose(features, method, 2), propose(features, method, 4)
    for few, many in zip(fewer, more, strict=True):
        assert [each[:2] for each in few] == [each[:2] for each in many[:2]]


@pytest.mark.parametrize("method", SEVERAL)
def test_a_batch_equals_its_images_one_by_one(method):
    """Boxes; scores to rounding, since sums of batches may run in another order."""
    features = random_batch()
    for image, found in enumerate(propose(features, method, 3)):
        (alone,) = propose(features.select(torch.tensor([image])), method, 3)
        assert [each.box for each in alone] == [each.box for each in found]
        scores = ([each.score for each in some] for some in (alone, found))
        np.testing.assert_allclose(*scores, atol=1e-6)


@pytest.mark.parametrize("method", SEVERAL)
def test_boxes_are_those_of_their_masks(method):
    """At an image's own size too, to half a pixel at each edge."""
    features = random_batch()
    for found in propose(features, method, 3):
        for each in found:
            mask = each.mask.in_image(np.array([60, 80]), (90, 40))
            assert mask.shape == (90, 40)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            drawn = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert drawn == pytest.approx(np.multiply(each.box, [0.5, 1.5, 0.5, 1.5]), abs=0.5)


def test_masks_of_move_are_the_component_of_the_box():
    mask = np.zeros((20, 30), dtype=np.float32)
    mask[2:8, 3:9] = 1
    mask[2, 3] = 0  # within the box, not of the object
    mask[15:18, 20:22] = 1
    features = FeatureMaps(
        torch.zeros(1, 1, 1),
        (1, 1),
        None,
        image_sizes=np.array([[40, 60]]),
        patch_size=8.0,
        image_masks=[mask],
    )
    ((found,),) = propose_scored(features, "move", heuristic_options("move", {}), 1)
    assert found.box == [6, 4, 18, 16]
    assert found.mask.cell.tolist() == [2, 2]
    assert found.mask.cells.sum() == 35
    large = found.mask.in_image(np.array([40, 60]), (40, 60))
    assert (large[4:16, 6:18].sum(), large.sum()) == (140, 140)


def test_methods_without_masks_have_none():
    ((found,), *_) = propose_scored(random_batch(), "center", heuristic_options("center", {}), 1)
    assert found.mask is None


def test_a_method_of_one_box_is_refused():
    with pytest.raises(InputError, match=r"method center finds one box .* lost, tokencut, found"):
        propose(random_batch(), "center", 2)


def literal_separation(features, mask):
    """Mean cosine over pairs of patches inside, less that of pairs across, pair by pair."""
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    inside, outside = np.flatnonzero(mask), np.flatnonzero(~mask)
    among = np.mean([units[i] @ units[j] for i in inside for j in inside])
    across = np.mean([units[i] @ units[j] for i in inside for j in outside])
    return min(max(among - across, 0.0), 1.0)


def test_separation_by_hand():
    features = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0], [0.0, -1.0]]])
    # Among the first two: cosines 1, 0, 0, 1; across: -1, 0, 0, -1.
    assert separation(features, torch.tensor([[True, True, False, False]])).item() == 1.0
    # Among the first and third: 1, -1, -1, 1; across: all 0.
    assert separation(features, torch.tensor([[True, False, True, False]])).item() == 0.0
    # All in: nothing is subtracted.
    assert separation(features, torch.ones(1, 4, dtype=torch.bool)).item() == 0.0


def test_separation_against_literal_version():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 20, 8, generator=generator) + 1
    masks = torch.rand(6, 20, generator=generator) < 0.4
    expected = [
        literal_separation(*pair) for pair in zip(features.numpy(), masks.numpy(), strict=True)
    ]
    # Sums in float32 against float64 pair by pair.
    np.testing.assert_allclose(separation(features, masks).numpy(), expected, atol=1e-6)
