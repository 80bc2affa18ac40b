"""L_h against values worked by hand and a search over every assignment, in plain Python floats."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss

from bbr.detector.set_loss import (
    LossWeights,
    elementwise_giou,
    match,
    most_confident,
    set_loss,
)

WEIGHTS = LossWeights()
# Sums of at most 20 float32 terms of order 1, against float64: a few units in the 7th digit.
CLOSE = {"rel": 2e-5, "abs": 2e-6}

seeds = st.integers(0, 2**31)


def random_batch(seed, k, counts):
    """Logits (B, k, 2), boxes (B, k, 4) and one target tensor an image, all inside the image."""
    generator = torch.Generator().manual_seed(seed)

    def boxes(*shape):
        values = torch.rand(*shape, 4, generator=generator)
        return torch.cat((0.3 + 0.4 * values[..., :2], 0.05 + 0.5 * values[..., 2:]), dim=-1)

    logits = 2 * torch.randn(len(counts), k, 2, generator=generator)
    return logits, boxes(len(counts), k), [boxes(n) for n in counts]


def slow_giou(a, b):
    """Equation 5's fraction for two cxcywh boxes with an area."""
    ax1, ax2, ay1, ay2 = a[0] - a[2] / 2, a[0] + a[2] / 2, a[1] - a[3] / 2, a[1] + a[3] / 2
    bx1, bx2, by1, by2 = b[0] - b[2] / 2, b[0] + b[2] / 2, b[1] - b[3] / 2, b[1] + b[3] / 2
    inner = max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))
    union = a[2] * a[3] + b[2] * b[3] - inner
    hull = (max(ax2, bx2) - min(ax1, bx1)) * (max(ay2, by2) - min(ay1, by1))
    return inner / union - (hull - union) / hull


def slow_l1(a, b):
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def slow_probability(logits):
    return math.exp(logits[0]) / (math.exp(logits[0]) + math.exp(logits[1]))


def slow_cost(logits, box, target, weights):
    box_terms = weights.l1_weight * slow_l1(box, target) - weights.giou_weight * slow_giou(
        box, target
    )
    return box_terms - weights.classification_weight * slow_probability(logits)


def slow_match(logits, boxes, targets, weights):
    """(prediction, target) pairs, sorted: the cheapest way of using up the smaller set."""
    k, n = len(boxes), len(targets)
    if n <= k:
        ways = ([(p, t) for t, p in enumerate(ps)] for ps in itertools.permutations(range(k), n))
    else:
        ways = ([(p, t) for p, t in enumerate(ts)] for ts in itertools.permutations(range(n), k))

    def cost(pairs):
        return sum(slow_cost(logits[p], boxes[p], targets[t], weights) for p, t in pairs)

    return sorted(min(ways, key=cost))


def slow_losses(logits, boxes, targets, weights):
    """Sums over one image, not normalised: class loss, its weight, l1, giou."""
    pairs = slow_match(logits, boxes, targets, weights)
    matched = {p for p, _ in pairs}
    classification = weight = 0.0
    for p, pair in enumerate(logits):
        probability = slow_probability(pair)
        share = 1.0 if p in matched else weights.no_object_weight
        classification -= share * math.log(probability if p in matched else 1 - probability)
        weight += share
    l1 = sum(slow_l1(boxes[p], targets[t]) for p, t in pairs)
    giou = sum(1 - slow_giou(boxes[p], targets[t]) for p, t in pairs)
    return classification, weight, l1, giou


counts_of_targets = st.lists(st.integers(0, 5), min_size=1, max_size=3)
batches = st.tuples(seeds, st.integers(1, 4), counts_of_targets)


@settings(deadline=None, max_examples=60)
@given(batches)
def test_matching_is_the_cheapest_of_all(batch):
    logits, boxes, targets = random_batch(*batch)
    matching = match(logits, boxes, targets, WEIGHTS)
    expected, start = [], 0
    for image, wanted in enumerate(targets):
        of_image = (logits[image].tolist(), boxes[image].tolist(), wanted.tolist())
        expected += [(image, p, start + t) for p, t in slow_match(*of_image, WEIGHTS)]
        start += len(wanted)
    found = (matching.image, matching.prediction, matching.target)
    assert sorted(zip(*(part.tolist() for part in found), strict=True)) == expected


@settings(deadline=None, max_examples=60)
@given(batches, st.floats(0.01, 1))
def test_loss_is_the_slow_one(batch, no_object):
    weights = LossWeights(1.5, 4.0, 3.0, no_object)
    logits, boxes, targets = random_batch(*batch)
    losses = set_loss(logits, boxes, targets, weights)
    images = zip(logits, boxes, targets, strict=True)
    sums = [slow_losses(*(part.tolist() for part in image), weights) for image in images]
    classification, weight, l1, giou = map(sum, zip(*sums, strict=True))
    count = max(1, sum(map(len, targets)))
    assert losses["classification"].item() == pytest.approx(classification / weight, **CLOSE)
    assert losses["l1"].item() == pytest.approx(l1 / count, **CLOSE)
    assert losses["giou"].item() == pytest.approx(giou / count, **CLOSE)
    total = 1.5 * classification / weight + (4 * l1 + 3 * giou) / count
    assert losses["total"].item() == pytest.approx(total, **CLOSE)


@pytest.mark.parametrize("counts", [(1, 1, 1), (0, 2, 3), (0, 0), (5, 1)])
def test_batch_is_the_weighted_sum_of_its_images(counts):
    """Box terms weigh with the number of targets, classification with its class weights."""
    k = 3
    logits, boxes, targets = random_batch(1, k, counts)
    whole = set_loss(logits, boxes, targets, WEIGHTS)
    parts = zip(logits.split(1), boxes.split(1), targets, strict=True)
    single = [set_loss(*pair, [target], WEIGHTS) for *pair, target in parts]
    for term in ("l1", "giou"):
        total = sum(max(1, n) * part[term] for n, part in zip(counts, single, strict=True))
        assert (max(1, sum(counts)) * whole[term]).item() == pytest.approx(total.item(), **CLOSE)
    shares = [min(k, n) + WEIGHTS.no_object_weight * (k - min(k, n)) for n in counts]
    total = sum(w * part["classification"] for w, part in zip(shares, single, strict=True))
    assert (sum(shares) * whole["classification"]).item() == pytest.approx(total.item(), **CLOSE)


def test_one_target_worked_by_hand():
    """The first box is concentric at half the size: IoU 1/4; the second is far away."""
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.2, 0.2]]])
    logits = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0]]])  # p = 1/2 and 3/4
    losses = set_loss(logits, boxes, [torch.tensor([[0.5, 0.5, 0.4, 0.4]])], WEIGHTS)
    classification = (math.log(2) + 0.1 * math.log(4)) / 1.1
    assert losses["classification"].item() == pytest.approx(classification)
    assert losses["l1"].item() == pytest.approx(0.4)
    assert losses["giou"].item() == pytest.approx(0.75)
    assert losses["total"].item() == pytest.approx(2 * classification + 5 * 0.4 + 2 * 0.75)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0.5, 0.5, 0.2, 0.2), (0.5, 0.5, 0.2, 0.2), 1),
        ((0.5, 0.5, 0.4, 0.4), (0.5, 0.5, 0.2, 0.2), 1 / 4),
        # Side by side: no overlap, no room between.
        ((0.2, 0.5, 0.2, 0.2), (0.4, 0.5, 0.2, 0.2), 0),
        # A gap of their own width: a third of the hull is empty.
        ((0.2, 0.5, 0.2, 0.2), (0.6, 0.5, 0.2, 0.2), -1 / 3),
        # Half overlap diagonally: IoU 1/7, hull 9/4 and union 7/4 of a box: 1/7 - 2/9.
        ((0.4, 0.4, 0.2, 0.2), (0.5, 0.5, 0.2, 0.2), 1 / 7 - 2 / 9),
    ],
)
def test_giou_by_hand(first, second, expected):
    assert slow_giou(first, second) == pytest.approx(expected)
    pair = torch.tensor(first), torch.tensor(second)
    # Areas of 0.04 are differences of coordinates rounded at 6e-8: 1e-5 of them at most.
    assert elementwise_giou(*pair).item() == pytest.approx(expected, abs=1e-5)
    assert elementwise_giou(*pair[::-1]).item() == pytest.approx(expected, abs=1e-5)


def test_no_targets_in_the_whole_batch():
    logits, boxes, _ = random_batch(2, 4, (0, 0))
    logits.requires_grad_()
    boxes.requires_grad_()
    losses = set_loss(logits, boxes, [torch.zeros(0, 4)] * 2, WEIGHTS)
    assert losses["l1"] == losses["giou"] == 0
    expected = -torch.log_softmax(logits, dim=-1)[..., 1].mean()
    assert losses["classification"].item() == pytest.approx(expected.item())
    losses["total"].backward()
    assert boxes.grad is None or boxes.grad.abs().max() == 0
    assert logits.grad.isfinite().all()


def test_more_targets_than_boxes_uses_every_box_once():
    logits, boxes, targets = random_batch(3, 3, (7,))
    matching = match(logits, boxes, targets, WEIGHTS)
    assert sorted(matching.prediction.tolist()) == [0, 1, 2]
    assert len(set(matching.target.tolist())) == 3


POINT, LINE = (0.5, 0.5, 0.0, 0.0), (0.5, 0.5, 0.0, 0.2)


@pytest.mark.parametrize("box", [POINT, LINE, (0.3, 0.5, 0.0, 0.0), (0.4, 0.4, 0.2, 0.2)])
@pytest.mark.parametrize("target", [POINT, LINE, (0.5, 0.7, 0.0, 0.2), (0.45, 0.5, 0.2, 0.2)])
def test_boxes_without_area_stay_finite(box, target):
    boxes = torch.tensor([[box, box]], requires_grad=True)
    logits = torch.zeros(1, 2, 2, requires_grad=True)
    losses = set_loss(logits, boxes, [torch.tensor([target])], WEIGHTS)
    losses["total"].backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert boxes.grad.abs().max() < 1e8  # its square is a float32 still
    assert logits.grad.isfinite().all()


@settings(deadline=None, max_examples=30)
@given(batches, seeds)
def test_order_of_predictions_does_not_matter(batch, seed):
    logits, boxes, targets = random_batch(*batch)
    order = torch.randperm(logits.shape[1], generator=torch.Generator().manual_seed(seed))
    there = set_loss(logits, boxes, targets, WEIGHTS)
    back = set_loss(logits[:, order], boxes[:, order], targets, WEIGHTS)
    for term, value in there.items():
        assert back[term].item() == pytest.approx(value.item(), **CLOSE)


@pytest.mark.parametrize("counts", [(1, 1), (0, 2), (3, 1)])
def test_gradient_is_that_of_the_value(counts):
    """Random boxes lie far from where the matching or a minimum changes sides."""
    logits, boxes, targets = random_batch(5, 2, counts)
    targets = [target.double() for target in targets]

    def total(logits, boxes):
        return set_loss(logits, boxes, targets, WEIGHTS)["total"]

    inputs = (logits.double().requires_grad_(), boxes.double().requires_grad_())
    assert torch.autograd.gradcheck(total, inputs)


def test_most_confident_is_the_first_of_the_best():
    logits = torch.tensor([[[0.0, 0.0], [2.0, 1.0], [5.0, 4.0]], [[1.0, 9.0], [1.0, 8.0], [0, 9]]])
    boxes = torch.arange(24.0).view(2, 3, 4)
    probability, chosen = most_confident(logits, boxes)
    assert chosen.tolist() == [boxes[0, 1].tolist(), boxes[1, 1].tolist()]
    assert probability.tolist() == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.exp(7))])


@pytest.mark.parametrize("counts", [(1, 1, 1), (0, 2, 7), (5, 1)])
@pytest.mark.parametrize("classification", [2.0, 0.1], ids=["paper", "release"])
def test_it_is_detr_s_as_transformers_has_it(counts, classification):
    """DETR's own criterion, ported by others: one class, and "no object" after it."""
    weights = LossWeights(classification_weight=classification)
    logits, boxes, targets = random_batch(11, 5, counts)
    inputs = (logits.requires_grad_(), boxes.requires_grad_())
    matcher = HungarianMatcher(classification, weights.l1_weight, weights.giou_weight)
    criterion = ImageLoss(matcher, 1, weights.no_object_weight, ["labels", "boxes"])
    wanted = [
        {"class_labels": torch.zeros(len(own), dtype=torch.int64), "boxes": own} for own in targets
    ]
    terms = criterion({"logits": logits, "pred_boxes": boxes}, wanted)
    expected = (
        classification * terms["loss_ce"]
        + weights.l1_weight * terms["loss_bbox"]
        + weights.giou_weight * terms["loss_giou"]
    )
    total = set_loss(logits, boxes, targets, weights)["total"]
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    for ours, theirs in zip(
        torch.autograd.grad(total, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=5e-7)
