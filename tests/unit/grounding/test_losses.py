"""The losses of g, each against what the paper and docs/protocol.md say, written out."""

import pytest
import torch
from grounding_data import DIM, SIDE, noise, small_grounder, tiny_clip, unit_vectors
from torchvision.ops import box_convert

from bbr.clip.relevancy import relevancy_maps
from bbr.detector.networks import DetectorSpec, build_detector
from bbr.detector.set_loss import LossWeights, set_loss
from bbr.grounding.batches import GroundingBatch
from bbr.grounding.losses import GroundingWeights, grounding_losses, toss_unions, union_box
from bbr.grounding.objective import GroundingObjective, Teacher, draw_maps

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
        "size": size, "relevancy": relevance, "background": background, "foreground": foreground,
        "total": 0.3 * size + 5 * relevance + 0.7 * background + 1.1 * foreground,
    }  # fmt: skip
    assert set(found) == set(literal)
    for name, value in literal.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-4), name


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
    tossed = toss_unions(targets, 0.5, torch.Generator().manual_seed(1))
    unions = sum(len(t) == 1 for t in tossed)
    assert abs(unions - 2000) < 160  # five standard deviations
    assert all(torch.equal(t, boxes) or torch.equal(t, union_box(boxes)) for t in tossed)
    assert len(toss_unions(targets[:3], 1, torch.Generator())[2]) == 1
    assert len(toss_unions(targets[:3], 0, torch.Generator())[2]) == 2


def objective(teacher=True, frozen=False, **weights):
    torch.manual_seed(1)
    detector = build_detector(DetectorSpec("attention", "spatial", 1, num_boxes=3, width=8, cell=8))
    asked = Teacher(detector, (32, 32), LossWeights()) if teacher else None
    given = GroundingWeights(**weights)
    return GroundingObjective(small_grounder(frozen=frozen), tiny_clip(), given, asked).eval()


def batch_of(count):
    return GroundingBatch(noise(count), None, unit_vectors(count, DIM))


def test_the_objective_adds_l_h_to_the_terms():
    model, batch = objective(), batch_of(2)
    targets = [torch.tensor([[0.5, 0.5, 0.4, 0.4]]), torch.tensor([[0.2, 0.2, 0.2, 0.2]] * 2)]
    found = model(batch, lambda _: targets)
    maps = model.grounder(batch.images, batch.texts)
    clip = model._frozen[0]
    relevancy = relevancy_maps(clip, batch.images, batch.texts, (SIDE, SIDE))
    terms = grounding_losses(clip, batch.images, maps, batch.texts, relevancy, model.weights)
    half = torch.nn.functional.interpolate(maps.unsqueeze(1), (32, 32), mode="bilinear")
    loss_h = set_loss(*model.teacher.detector(half), targets, LossWeights())["total"]
    torch.testing.assert_close(found["h"], loss_h, **CLOSE)
    torch.testing.assert_close(found["total"], terms["total"] + loss_h, **CLOSE)


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_reach_g_and_nothing_else(frozen):
    model, batch = objective(frozen=frozen), batch_of(2)
    model(batch, lambda _: [torch.tensor([[0.5, 0.5, 0.4, 0.4]])] * 2)["total"].backward()
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
