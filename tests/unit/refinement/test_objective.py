"""Refining f through a frozen h: the losses, the targets and what may move."""

import copy

import pytest
import torch
from tiny_vit import TINY_VIT
from torchvision.ops import box_convert

from bbr.backbones.base import BackboneSpec, SegmenterSpec
from bbr.backbones.build import build_backbone
from bbr.detector.layout import arrange
from bbr.detector.networks import DetectorSpec, build_detector
from bbr.detector.set_loss import LossWeights, set_loss
from bbr.errors import InputError
from bbr.heuristics.lost import lost_boxes
from bbr.heuristics.registry import heuristic_options, propose_targets
from bbr.refinement.objective import Refinement, RefinementOptions

TINY = TINY_VIT | {"depth": 3}
SIDE, GRID, DIM = 96, (6, 6), 32
LOST = heuristic_options("lost", {"k_patches": 10})


def tiny_backbone(seed=0):
    torch.manual_seed(seed)
    return build_backbone(BackboneSpec("vit_tiny_patch16_224", TINY)).eval()


def refinement(layout="spatial", network="attention", seed=0, moves_detector=False, **options):
    backbone = tiny_backbone(seed)
    channels = 3 * DIM if layout == "spatial" else 3
    detector = build_detector(DetectorSpec(network, layout, channels, num_boxes=3, width=16))
    chosen = RefinementOptions(**options)
    return Refinement(
        backbone, detector, "qkv", "lost", LOST, chosen, LossWeights(), moves_detector
    )


@pytest.fixture
def images():
    """Noise of a few large cells, so that patches differ."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(0, 256, (4, 3, 6, 6), dtype=torch.uint8, generator=generator)
    return cells.repeat_interleave(16, 2).repeat_interleave(16, 3)


@pytest.fixture
def boxes():
    return torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.6, 0.2, 0.5]] * 2)


def shake(model, amount=0.3):
    """Move f^h away from f, so that the two can be told apart."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.refined.parameters():
            if parameter.requires_grad:
                parameter += amount * torch.randn(parameter.shape, generator=generator)


def both_maps(model, images, original):
    """Maps of f and of f^h, each run from pixels to the end."""
    with torch.no_grad():
        return original(original.prepare(images)), model.refined(model.refined.prepare(images))


def detect(model, maps):
    stacked = torch.stack((maps.query, maps.key, maps.value), dim=1)
    detector = model._frozen[1]
    return detector(arrange(stacked, GRID, detector.spec.layout))


def slow_mean_square(first, second):
    """Mean over all numbers of the squared difference, added up one by one."""
    pairs = zip(first.flatten().tolist(), second.flatten().tolist(), strict=True)
    squares = [(a - b) ** 2 for a, b in pairs]
    return sum(squares) / len(squares)


def test_l_f_is_the_literal_one(images, boxes):
    expected = {
        "cls": lambda maps: maps.tokens[:, 0],
        "tokens": lambda maps: maps.tokens,
        "keys": lambda maps: maps.key,
    }
    found = {}
    for on, output in expected.items():
        model = refinement(regularize=on)
        shake(model)
        before, after = both_maps(model, images, tiny_backbone())
        found[on] = model(model.precompute(images, boxes), GRID)["f"].item()
        # float32 against float64 sums of some 5,000 terms.
        assert found[on] == pytest.approx(slow_mean_square(output(before), output(after)), rel=1e-4)
    assert len({round(value, 6) for value in found.values()}) == 3
    none = refinement(regularize="none")
    shake(none)
    assert none(none.precompute(images, boxes), GRID)["f"] == 0


def test_unchanged_backbone_is_at_distance_zero(images, boxes):
    for regularize in ("cls", "tokens", "keys", "none"):
        model = refinement(regularize=regularize)
        losses = model(model.precompute(images, boxes), GRID)
        assert losses["f"] == 0
        assert losses["total"] == losses["h"]


@pytest.mark.parametrize(
    ("layout", "network"), [("spatial", "attention"), ("qkv_image", "resnet18")]
)
def test_losses_are_put_together_as_the_paper_says(images, boxes, layout, network):
    model = refinement(layout, network, regularize="keys", regularize_weight=0.25)
    shake(model)
    losses = model(model.precompute(images, boxes), GRID)
    original, refined = both_maps(model, images, tiny_backbone())
    loss_f = slow_mean_square(original.key, refined.key)
    logits, predicted = detect(model, refined)
    loss_h = set_loss(logits, predicted, list(boxes.split(1)), LossWeights())["total"].item()
    assert losses["f"].item() == pytest.approx(loss_f, rel=1e-4)
    assert losses["h"].item() == pytest.approx(loss_h, rel=1e-4)
    assert losses["total"].item() == pytest.approx(loss_h + 0.25 * loss_f, rel=1e-4)


def heuristic_boxes(maps):
    """LOST's boxes of some maps, cxcywh in fractions of the image."""
    patches = torch.from_numpy(lost_boxes(maps.key, GRID, LOST.k_patches)).float()
    return box_convert(patches / 6, "xyxy", "cxcywh")


def most_confident_boxes(model, maps):
    logits, boxes = detect(model, maps)
    best = [max(range(3), key=lambda i, pair=pair: pair[i][0] - pair[i][1]) for pair in logits]
    return torch.stack([boxes[image, i] for image, i in enumerate(best)])


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("targets", ["f", "current", "h"])
def test_targets(images, boxes, targets, given):
    """Given boxes are those of f; other targets never use them."""
    model = refinement(targets=targets)
    shake(model)
    original, refined = both_maps(model, images, tiny_backbone())
    expected = {
        "f": boxes if given else heuristic_boxes(original),
        "current": heuristic_boxes(refined),
        "h": most_confident_boxes(model, original),
    }
    assert not torch.equal(heuristic_boxes(original), expected["current"])
    fixed = model.precompute(images, boxes if given else None)
    if targets != "current":
        torch.testing.assert_close(fixed.boxes, expected[targets])
    losses = model(fixed, GRID)
    logits, predicted = detect(model, refined)
    wanted = list(expected[targets].split(1))
    loss_h = set_loss(logits, predicted, wanted, LossWeights())["total"].item()
    assert losses["h"].item() == pytest.approx(loss_h, rel=1e-4)


def moved_names(blocks):
    """Parameters of the last blocks and of the norm that follows them."""
    prefixes = ["network.norm.", *(f"network.blocks.{i}." for i in range(3 - blocks, 3))]
    names = (name for name, _ in tiny_backbone().named_parameters())
    return {name for name in names if name.startswith(tuple(prefixes))}


@pytest.mark.parametrize(("chosen", "blocks"), [(0, 3), (1, 1), (2, 2)])
def test_gradient_reaches_the_trained_blocks_alone(images, boxes, chosen, blocks):
    model = refinement(trainable_blocks=chosen, regularize="tokens")
    shake(model, 0.05)
    model(model.precompute(images, boxes), GRID)["total"].backward()
    reached = {n for n, p in model.refined.named_parameters() if p.grad is not None}
    assert reached == moved_names(blocks)
    assert all(p.grad is None for network in model._frozen for p in network.parameters())


@pytest.mark.parametrize("regularize", ["cls", "keys", "none"])
def test_only_f_h_moves(images, boxes, regularize):
    options = {"trainable_blocks": 2, "regularize": regularize, "targets": "current"}
    model = refinement("qkv_image", "resnet18", **options)
    before = copy.deepcopy(model.refined.state_dict())
    frozen = [copy.deepcopy(network.state_dict()) for network in model._frozen]
    model.train()  # as a training loop might: h's batch norm must stay in evaluation mode
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        model(model.precompute(images, boxes), GRID)["total"].backward()
        optimizer.step()
    for network, state in zip(model._frozen, frozen, strict=True):
        assert all(torch.equal(t, state[name]) for name, t in network.state_dict().items())
    assert all(name.startswith("refined.") for name in model.state_dict())
    after = model.refined.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert "network.blocks.1.attn.qkv.weight" in moved
    assert moved <= moved_names(2)


@pytest.mark.parametrize("targets", ["f", "h"])
def test_boxes_compared_are_of_the_heuristic_on_f_h_and_of_h_on_f(images, boxes, targets):
    model = refinement(channel_dropout=0.5, targets=targets)
    shake(model)
    original, refined = both_maps(model, images, tiny_backbone())
    wanted = (most_confident_boxes(model, original), heuristic_boxes(refined))
    fixed = model.precompute(images, boxes)
    for found, expected in zip((model.own_boxes, model.found_boxes), wanted, strict=True):
        torch.testing.assert_close(found(fixed, GRID), expected)


def test_h_is_shown_a_part_of_the_channels(images, boxes):
    """Where a generator is given; the targets come from an h that sees all of them."""
    model = refinement(channel_dropout=0.5, targets="h")
    fixed = model.precompute(images, boxes)
    everything = refinement(targets="h")
    assert torch.equal(fixed.boxes, everything.precompute(images, boxes).boxes)
    assert model(fixed, GRID)["h"] == everything(fixed, GRID)["h"]
    drawn = [model(fixed, GRID, torch.Generator().manual_seed(seed))["h"] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_steps_lower_the_loss(images, boxes):
    model = refinement(regularize="none")
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    fixed = model.precompute(images, boxes)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        losses.append(model(fixed, GRID)["total"])
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def test_taking_turns_moves_one_of_the_two(images, boxes):
    """h learns what the heuristic says of f^h as it stands, whatever f^h's own targets are."""
    model = refinement(moves_detector=True, targets="f", regularize="none", trainable_blocks=1)
    shake(model)
    fixed = model.precompute(images, boxes)
    f_h = [p for p in model.refined.parameters() if p.requires_grad]
    h = list(model.detector.parameters())
    for detectors in (True, False, True):
        model.set_phase(detectors)
        model.zero_grad()
        loss = model(fixed, GRID)["total"]
        loss.backward()
        assert all((p.grad is not None) == detectors for p in h)
        assert any(p.grad is not None for p in f_h) != detectors
        assert model.detector.training == detectors
    maps = model.refined(model.refined.prepare(images))
    wanted = [box[None] for box in heuristic_boxes(maps)]
    stacked = torch.stack((maps.query, maps.key, maps.value), dim=1)
    found = set_loss(*model.detector(arrange(stacked, GRID, "spatial")), wanted, LossWeights())
    torch.testing.assert_close(loss, found["total"])


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_kept_observations_give_the_same_losses(images, boxes, blocks):
    """Of the whole set at once, as kept before training, or of each batch in its step."""
    model = refinement(trainable_blocks=blocks)
    shake(model)
    kept = model.precompute(images, boxes)
    assert not any(tensor.requires_grad for tensor in kept)
    for chosen in (torch.tensor([2, 0]), torch.tensor([3])):
        from_kept = model(kept.map(lambda tensor, chosen=chosen: tensor[chosen]), GRID)
        anew = model(model.precompute(images[chosen], boxes[chosen]), GRID)
        for term, value in anew.items():  # other batch sizes may add in another order
            assert from_kept[term].item() == pytest.approx(value.item(), rel=1e-4)


@pytest.mark.parametrize("blocks", [-1, 4])
def test_there_are_only_so_many_blocks(blocks):
    with pytest.raises(InputError, match=r"the backbone has 3 blocks"):
        refinement(trainable_blocks=blocks)


@pytest.mark.parametrize(
    ("block", "moving", "refused"), [(-2, 1, True), (-2, 2, False), (0, 2, True)]
)
def test_the_block_that_h_reads_must_be_among_or_behind_those_that_move(block, moving, refused):
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec("vit_tiny_patch16_224", TINY, block=block))
    detector = build_detector(DetectorSpec("attention", "spatial", DIM, num_boxes=3, width=16))

    def make():
        options = RefinementOptions(trainable_blocks=moving)
        return Refinement(backbone, detector, "k", "lost", LOST, options, LossWeights())

    if refused:
        message = rf"trainable_blocks is {moving}, but h reads block {block}, which"
        with pytest.raises(InputError, match=message):
            make()
    else:
        assert make().moving == moving


def test_convolutional_backbone(boxes):
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec("tf_efficientnet_lite0", normalization="center")).eval()
    detector = build_detector(DetectorSpec("attention", "spatial", backbone.dim, 2, width=8))
    chosen = RefinementOptions(trainable_blocks=2)
    model = Refinement(backbone, detector, "k", "lost", LOST, chosen, LossWeights())
    images = torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    model(model.precompute(images, boxes[:2]), backbone.grid_of(SIDE, SIDE))["total"].backward()
    moved = {name for name, p in model.refined.named_parameters() if p.grad is not None}
    assert moved == {n for n, p in model.refined.named_parameters() if p.requires_grad}
    assert 0 < len(moved) < len(list(model.refined.parameters()))


def segmenting(**options):
    """f^h of a segmenter, which starts from a head of random numbers."""
    torch.manual_seed(0)
    spec = BackboneSpec("vit_tiny_patch16_224", TINY, segmenter=SegmenterSpec(2, min_width=4))
    backbone = build_backbone(spec).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    published = copy.deepcopy(backbone)
    detector = build_detector(DetectorSpec("attention", "spatial", 1, num_boxes=3, width=16))
    chosen = RefinementOptions(regularize="mask", reinit_head=True, **options)
    move = heuristic_options("move", {})
    model = Refinement(backbone, detector, "mask", "move", move, chosen, LossWeights())
    return published, model


def test_move_s_norm_stays_where_the_head_alone_is_new():
    """The released code replaces the head; the layer norm that MOVE trained is a part of f."""
    published, model = segmenting(keep_norm=True)
    assert torch.equal(model.refined.norm.weight, published.norm.weight)
    names = {n for n, p in model.refined.named_parameters() if p.requires_grad}
    assert names == {f"head.{n}" for n, _ in published.head.named_parameters()}
    assert not torch.equal(model.refined.head.model[0][1].weight, published.head.model[0][1].weight)
    _, other = segmenting()
    assert torch.equal(other.refined.norm.weight, torch.ones(DIM))


def test_the_published_head_answers_by_its_batch(images):
    """In training mode, as in the released code: torch's own, which is then put back."""
    published, model = segmenting(anchor_statistics="batch")
    fixed = model.precompute(images, None)
    expected = published.train()(published.prepare(images))
    torch.testing.assert_close(fixed.anchor, expected.mask.flatten(1).unsqueeze(1))
    wanted = propose_targets(expected, "move", heuristic_options("move", {}))
    torch.testing.assert_close(fixed.boxes, wanted)
    _, by_its_own = segmenting()
    assert not torch.allclose(by_its_own.precompute(images, None).anchor, fixed.anchor)


def test_batches_leave_no_trace_in_the_published_head(images):
    """Which states are compared by: as many images seen, or none, must give the same."""
    _, model = segmenting(anchor_statistics="batch")
    fixed = model.precompute(images, None)
    before = {k: v.clone() for k, v in model._frozen[0].state_dict().items() if "running" in k}
    assert before
    grid = model.refined.grid_of(SIDE, SIDE)
    found, own = model.found_boxes(fixed, grid), model.own_boxes(fixed, grid)
    model.precompute(images.flip(0) // 2, None)
    after = model._frozen[0].state_dict()
    for name, values in before.items():
        assert torch.equal(after[name], values), name
    assert torch.equal(model.found_boxes(fixed, grid), found)
    assert torch.equal(model.own_boxes(fixed, grid), own)
