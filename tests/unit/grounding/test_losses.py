"""The losses of g, each against what the paper and docs/protocol.md say, written out."""

import math
from dataclasses import replace

import pytest
import torch
from grounding_data import DIM, SIDE, noise, small_grounder, tiny_clip, unit_vectors
from torchvision.ops import box_convert

from bbr.clip.relevancy import relevancy_maps
from bbr.detector.networks import DetectorSpec, build_detector
from bbr.detector.set_loss import LossWeights, set_loss
from bbr.grounding.batches import GroundingBatch
from bbr.grounding.losses import (
    GroundingWeights,
    box_masks,
    grounding_losses,
    mask_loss,
    toss_coins,
    union_box,
    with_unions,
)
from bbr.grounding.objective import GroundingObjective, Lesson, Teacher, draw_logits, draw_maps

# Float32 sums of a few thousand terms in another order.
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(3, SIDE, SIDE, generator=generator)
    relevancy = torch.rand(3, SIDE, SIDE, generator=generator)
    return noise(3), maps, unit_vectors(3), relevancy


def literal_cosine(clip, image, text):
    """CLIP(I, t) of one image (3, H, W) and an unit vector."""
    pixels = (image - clip.mean[0]) / clip.std[0]
    output = clip.model.encode_image(pixels.unsqueeze(0))[0]
    return float((output / output.norm()) @ text)


def test_each_term_is_the_literal_one(pairs):
    images, maps, texts, relevancy = pairs
    clip, weights = tiny_clip(), GroundingWeights(0.3, 5.0, 0.7, 1.1)
    found = grounding_losses(clip, images, maps, texts, relevancy, weights)
    size = relevance = background = foreground = 0.0
    for image, heatmap, text, wanted in zip(*pairs, strict=True):
        values = heatmap.flatten().tolist()
        size += sum(values) / len(values) / 3
        squares = [(a - b) ** 2 for a, b in zip(values, wanted.flatten().tolist(), strict=True)]
        relevance += sum(squares) / len(squares) / 3
        background += abs(literal_cosine(clip, (1 - heatmap) * image, text)) / 3
        foreground += (1 - literal_cosine(clip, heatmap * image, text)) / 3
    literal = {
        "size": size,
        "relevancy": relevance,
        "background": background,
        "foreground": foreground,
        "total": 0.3 * size + 5 * relevance + 0.7 * background + 1.1 * foreground,
    }
    assert set(found) == set(literal)
    for name, value in literal.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-4), name


def test_pixels_and_similarities_as_wwbl_s_code_has_them(pairs):
    """Image by image and text by text: 0.5 and 0.5, masked as normalised, the mean of B × B."""
    images, maps, texts, relevancy = pairs
    clip, weights = tiny_clip().take_pixels("half"), GroundingWeights(0, 0, 0.7, 1.1)
    found = grounding_losses(clip, images, maps, texts, relevancy, weights, "batch")

    def cosines(mask, image):
        output = clip.model.encode_image((mask * (image - 0.5) / 0.5).unsqueeze(0))[0]
        return (texts @ (output / output.norm())).tolist()

    background, foreground = [], []
    for image, heatmap in zip(images, maps, strict=True):
        background += [abs(c) for c in cosines(1 - heatmap, image)]
        foreground += [1 - c for c in cosines(heatmap, image)]
    assert float(found["background"]) == pytest.approx(sum(background) / 9, rel=1e-4)
    assert float(found["foreground"]) == pytest.approx(sum(foreground) / 9, rel=1e-4)
    normalised = clip.prepare(images)
    torch.testing.assert_close(normalised, 2 * images - 1)


def test_a_term_without_weight_is_not_computed(pairs):
    images, maps, texts, relevancy = pairs
    weights = GroundingWeights(1, 2, 0, 0)
    found = grounding_losses(None, images, maps, texts, relevancy, weights)
    assert set(found) == {"total", "size", "relevancy"}
    torch.testing.assert_close(found["total"], found["size"] + 2 * found["relevancy"])


def test_the_default_weights_are_wwbls():
    assert GroundingWeights() == GroundingWeights(0.25, 16, 0.5, 0.25)


def test_the_union_of_boxes():
    boxes = box_convert(
        torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.2, 0.1, 0.6, 0.3]]), "xyxy", "cxcywh"
    )
    around = box_convert(union_box(boxes), "cxcywh", "xyxy")
    torch.testing.assert_close(around, torch.tensor([[0.1, 0.1, 0.6, 0.4]]))
    assert union_box(torch.zeros(0, 4)).shape == (0, 4)


def test_the_coin_falls_for_each_image_as_often_as_it_should():
    boxes = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1]])
    targets = [boxes] * 4000
    coins = toss_coins(4000, 0.5, torch.Generator().manual_seed(1))
    assert abs(sum(coins) - 2000) < 160  # five standard deviations
    for found, coin in zip(with_unions(targets, coins), coins, strict=True):
        assert torch.equal(found, union_box(boxes) if coin else boxes)
    assert toss_coins(3, 1, torch.Generator()) == [True] * 3
    assert toss_coins(3, 0, torch.Generator()) == [False] * 3


def test_one_coin_for_a_batch():
    """All images alike, and as often as the one number that is drawn says."""
    for seed in range(20):
        number = torch.rand(1, generator=torch.Generator().manual_seed(seed)).item()
        generator = torch.Generator().manual_seed(seed)
        assert toss_coins(5, 0.5, generator, of_each=False) == [number < 0.5] * 5


def literal_mask(boxes, height, width):
    """Pixel by pixel: in a box if its centre is."""
    mask = [[False] * width for _ in range(height)]
    for y in range(height):
        for x in range(width):
            for cx, cy, w, h in boxes.tolist():
                right = cx - w / 2 <= (x + 0.5) / width < cx + w / 2
                mask[y][x] |= right and cy - h / 2 <= (y + 0.5) / height < cy + h / 2
    return mask


def random_boxes(count, generator):
    sizes = torch.rand(count, 2, generator=generator) * 0.6
    return torch.cat((torch.rand(count, 2, generator=generator), sizes), dim=1)


def test_masks_and_their_term_are_the_literal_ones():
    generator = torch.Generator().manual_seed(0)
    boxes = [random_boxes(count, generator) for count in (1, 3, 2)]
    logits = torch.randn(3, 9, 14, generator=generator) * 3
    masks = box_masks(boxes, (9, 14))
    wanted = 0.0
    for own, plane, mask in zip(boxes, logits.double().tolist(), masks.tolist(), strict=True):
        assert mask == literal_mask(own, 9, 14)
        inside, outside = [], []
        for values, row in zip(plane, mask, strict=True):
            for value, chosen in zip(values, row, strict=True):
                m = 1 / (1 + math.exp(-value))
                (inside if chosen else outside).append(-math.log(m if chosen else 1 - m))
        wanted += sum(inside) / len(inside) + sum(outside) / len(outside)
    assert float(mask_loss(logits, masks)) == pytest.approx(wanted / 3, rel=1e-5)


def test_the_share_of_the_inside():
    logits = torch.full((1, 4, 4), 1.0)
    masks = box_masks([torch.tensor([[0.25, 0.5, 0.5, 1.0]])], (4, 4))
    for share in (0.2, 0.5):
        wanted = 2 * (share * math.log(1 + 1 / math.e) + (1 - share) * math.log(1 + math.e))
        assert float(mask_loss(logits, masks, share)) == pytest.approx(wanted)


def test_a_mask_without_an_inside_or_an_outside():
    boxes = [torch.zeros(0, 4), torch.tensor([[0.5, 0.5, 2.0, 2.0]])]
    masks = box_masks(boxes, (4, 4))
    assert [float(m.float().mean()) for m in masks] == [0, 1]
    logits = torch.full((2, 4, 4), 1.0)
    wanted = (math.log(1 + math.e) + math.log(1 + 1 / math.e)) / 2
    assert float(mask_loss(logits, masks)) == pytest.approx(wanted)


def test_the_mask_term_is_finite_where_a_map_is_0_or_1():
    """M itself would be rounded, and its logarithm infinite."""
    logits = torch.tensor([[[200.0, -200.0]], [[-200.0, 200.0]]], requires_grad=True)
    masks = torch.tensor([[[True, False]], [[True, False]]])
    loss = mask_loss(logits, masks)
    loss.backward()
    assert loss.item() == pytest.approx(200)
    assert logits.grad.tolist() == [[[0, 0]], [[-0.5, 0.5]]]


def objective(teacher=True, frozen=False, teaching=(1.0, 0.0), moves=False, **weights):
    torch.manual_seed(1)
    detector = build_detector(DetectorSpec("attention", "spatial", 1, num_boxes=3, width=8, cell=8))
    asked = Teacher(detector, (32, 32), LossWeights(), *teaching) if teacher else None
    given = GroundingWeights(**weights)
    g = small_grounder(frozen=frozen)
    return GroundingObjective(g, tiny_clip(), given, asked, moves_detector=moves).eval()


def batch_of(count):
    return GroundingBatch(noise(count), None, unit_vectors(count, DIM))


def test_in_its_turn_h_learns_of_the_maps_alone():
    """L_h, of weight 1 whatever g^h is taught by, and nothing of g^h moves, its norms included."""
    model, batch = objective(teaching=(0.0, 2.0), moves=True), batch_of(2)
    model.grounder.train()
    norms = {name: b.clone() for name, b in model.grounder.named_buffers()}
    targets = [torch.tensor([[0.5, 0.5, 0.4, 0.4]]), torch.tensor([[0.2, 0.2, 0.2, 0.2]] * 2)]
    shown = []

    def lesson(maps):
        shown.append(maps)
        return Lesson(targets, targets)

    model.set_phase(detectors=True)
    found = model(batch, lesson)
    found["total"].backward()
    assert all(p.grad is None for p in model.grounder.parameters())
    assert all(p.grad is not None for p in model.detector.parameters())
    assert all(torch.equal(norms[name], b) for name, b in model.grounder.named_buffers())
    maps = model.grounder.eval()(batch.images, batch.texts)
    torch.testing.assert_close(shown[0], maps, **CLOSE)
    half = torch.nn.functional.interpolate(maps.unsqueeze(1), (32, 32), mode="bilinear")
    loss_h = set_loss(*model.detector(half), targets, LossWeights())["total"]
    torch.testing.assert_close(found["total"], loss_h, **CLOSE)
    model.zero_grad()
    model.set_phase(detectors=False)
    model(batch, lesson)["total"].backward()
    assert all(p.grad is None for p in model.detector.parameters())
    assert any(p.grad is not None for p in model.grounder.D.parameters())


def test_the_objective_adds_l_h_and_the_masks_to_the_terms():
    model, batch = objective(teaching=(0.3, 2.0)), batch_of(2)
    targets = [torch.tensor([[0.5, 0.5, 0.4, 0.4]]), torch.tensor([[0.2, 0.2, 0.2, 0.2]] * 2)]
    found = model(batch, lambda _: Lesson(targets, targets[::-1]))
    maps = model.grounder(batch.images, batch.texts)
    clip = model._frozen[0]
    relevancy = relevancy_maps(clip, batch.images, batch.texts, (SIDE, SIDE))
    terms = grounding_losses(clip, batch.images, maps, batch.texts, relevancy, model.weights)
    half = torch.nn.functional.interpolate(maps.unsqueeze(1), (32, 32), mode="bilinear")
    loss_h = set_loss(*model.teacher.detector(half), targets, LossWeights())["total"]
    torch.testing.assert_close(found["h"], loss_h, **CLOSE)
    of_masks = mask_loss(torch.logit(maps), box_masks(targets[::-1], (SIDE, SIDE)))
    torch.testing.assert_close(found["mask"], of_masks, **CLOSE)
    whole = terms["total"] + 0.3 * loss_h + 2 * of_masks
    torch.testing.assert_close(found["total"], whole, **CLOSE)


def test_what_has_no_weight_is_left_out():
    for teaching, left_out in (((0.0, 1.0), "h"), ((1.0, 0.0), "mask")):
        model = objective(teaching=teaching)
        boxes = [torch.tensor([[0.5, 0.5, 0.4, 0.4]])] * 2
        assert left_out not in model(batch_of(2), lambda _, b=boxes: Lesson(b, b))


def test_logits_are_those_of_the_maps():
    model, batch = objective(teacher=False), batch_of(2)
    with torch.no_grad():
        logits, maps = draw_logits(model.grounder, batch), draw_maps(model.grounder, batch)
        torch.testing.assert_close(logits.sigmoid(), maps)
        torch.testing.assert_close(maps, model.grounder(batch.images, batch.texts))


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_reach_g_and_nothing_else(frozen):
    model, batch = objective(frozen=frozen), batch_of(2)
    boxes = [torch.tensor([[0.5, 0.5, 0.4, 0.4]])] * 2
    model(batch, lambda _: Lesson(boxes, boxes))["total"].backward()
    clip, detector = model._frozen
    assert all(p.grad is None for network in (clip, detector) for p in network.parameters())
    reached = {name for name, p in model.grounder.named_parameters() if p.grad is not None}
    decoder = {name for name, _ in model.grounder.named_parameters() if name.startswith("D.")}
    assert decoder <= reached
    assert any(name.startswith("E.") for name in reached) is not frozen
    assert set(model.state_dict()) == {f"grounder.{n}" for n in model.grounder.state_dict()}


@pytest.mark.parametrize("term", ["size", "relevancy", "background", "foreground"])
def test_each_term_alone_moves_g(term):
    weights = {name: float(name == f"{term}_weight") for name in vars(GroundingWeights())}
    model = objective(teacher=False, frozen=True, **weights)
    losses = model(batch_of(2))
    losses["total"].backward()
    torch.testing.assert_close(losses["total"], losses[term])
    assert model.grounder.D.up0.conv1.weight.grad.abs().max() > 0


def test_flips_give_mirrored_boxes_of_mirrored_maps():
    model, batch = objective(), batch_of(3)
    teacher = replace(model.teacher, flips=True)
    with torch.no_grad():
        maps = draw_maps(model.grounder, batch)
    for found, mirrored in zip(
        teacher.own_boxes(maps), teacher.own_boxes(maps.flip(2)), strict=True
    ):
        assert found.shape == (1, 4)
        assert found[0, 0].item() == pytest.approx(1 - mirrored[0, 0].item(), abs=1e-5)
        torch.testing.assert_close(found[0, 1:], mirrored[0, 1:], **CLOSE)


def test_h_names_its_own_boxes():
    model, batch = objective(), batch_of(3)
    with torch.no_grad():
        maps = draw_maps(model.grounder, batch)
        logits, boxes = model.teacher.detect(maps)
        own = model.teacher.own_boxes(maps)
    for found, scores, all_boxes in zip(own, logits.softmax(-1)[..., 0], boxes, strict=True):
        meant = all_boxes[scores > 0.5]
        wanted = meant if len(meant) else all_boxes[scores.argmax()].unsqueeze(0)
        assert torch.equal(found, wanted)
