"""h's networks: what they give, how they start and how they are kept."""

import math

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from bbr.detector.networks import (
    AttentionDetector,
    DetectorSpec,
    ResNetDetector,
    build_detector,
    initialize_trunk,
    load_detector,
    require_channels,
    save_detector,
)
from bbr.errors import InputError

SPECS = {
    "attention": DetectorSpec("attention", "spatial", channels=12, num_boxes=4, width=16),
    "resnet, spatial": DetectorSpec("resnet18", "spatial", channels=12, num_boxes=4),
    "resnet, qkv": DetectorSpec("resnet18", "qkv_image", channels=3, num_boxes=4),
}
# What `arrange` gives of q, k, v of 7 × 9 patches with d = 4: a map, or an image of 63 × 4.
SHAPES = {"spatial": (12, 7, 9), "qkv_image": (3, 63, 4)}


def random_maps(layout, batch=3, seed=0):
    return torch.randn(batch, *SHAPES[layout], generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=SPECS)
def detector(request):
    torch.manual_seed(0)
    return build_detector(SPECS[request.param])


@pytest.mark.parametrize("scale", [1, 100])
def test_outputs_are_boxes_and_logits(detector, scale):
    maps = scale * random_maps(detector.spec.layout)
    logits, boxes = detector(maps)
    assert logits.shape == (3, 4, 2)
    assert boxes.shape == (3, 4, 4)
    assert logits.isfinite().all()
    assert (boxes >= 0).all()
    assert (boxes <= 1).all()


@pytest.mark.parametrize("shape", [(3, 361, 384), (3, 362, 384), (3, 304, 304)])
def test_h_of_the_paper_is_torchvision_s_resnet50(shape):
    """LOST's, TokenCut's and MOVE's inputs as images; of six numbers a box, four are its sides."""
    torch.manual_seed(3)
    h = build_detector(DetectorSpec("resnet50", "qkv_image", channels=3, num_boxes=10)).eval()
    original = models.resnet50(weights=None)
    original.fc = torch.nn.Linear(2048, 6 * 10)
    original.load_state_dict(h.network.state_dict())
    maps = torch.randn(1, *shape)
    with torch.no_grad():
        numbers, (logits, boxes) = original.eval()(maps)[0].tolist(), h(maps)
    for k in range(10):
        sides = [1 / (1 + math.exp(-number)) for number in numbers[6 * k : 6 * k + 4]]
        assert boxes[0, k].tolist() == pytest.approx(sides, abs=1e-6)
        assert logits[0, k].tolist() == pytest.approx(numbers[6 * k + 4 : 6 * k + 6], abs=1e-6)


def test_boxes_of_the_attention_network_lie_in_the_image():
    torch.manual_seed(1)
    _, boxes = build_detector(SPECS["attention"])(50 * random_maps("spatial", batch=20))
    center, size = boxes[..., :2], boxes[..., 2:]
    rounding = 1e-6
    assert (center - size / 2 >= -rounding).all()
    assert (center + size / 2 <= 1 + rounding).all()


def test_every_weight_learns(detector):
    logits, boxes = detector.train()(random_maps(detector.spec.layout))
    (logits.sin().sum() + boxes.sin().sum()).backward()
    idle = [n for n, p in detector.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_evaluation_looks_at_one_image_at_a_time(detector):
    maps = random_maps(detector.spec.layout)
    together = detector.eval()(maps)
    alone = [detector(image[None]) for image in maps]
    for whole, parts in zip(together, zip(*alone, strict=True), strict=True):
        # Convolutions of other batch sizes add in other orders.
        torch.testing.assert_close(whole, torch.cat(parts), atol=1e-5, rtol=1e-4)


def test_any_map_size():
    network = build_detector(SPECS["attention"])
    for height, width in [(1, 1), (1, 5), (19, 13)]:
        _, boxes = network(torch.randn(1, 12, height, width))
        assert boxes.isfinite().all()


def attending_detector(maps, patch):
    """An attention network whose 16 maps all look for what lies at one patch of some maps."""
    torch.manual_seed(2)
    network = build_detector(SPECS["attention"]).eval()
    with torch.no_grad():
        hidden = network.reduce(maps)
        for block in network.blocks:
            hidden = block(hidden)
        here = hidden[0, :, patch[0], patch[1]]
        contrast = here - hidden[0].mean(dim=(1, 2))
        # Every other patch is left at least e^60 behind: a softmax of 1 and zeros.
        rival = (hidden[0].flatten(1).T @ contrast).sort().values[-2]
        contrast *= 60 / (here @ contrast - rival)
        network.sides.weight.copy_(contrast.view(1, -1, 1, 1).expand_as(network.sides.weight))
    return network


@pytest.mark.parametrize(("down", "right"), [(0, 1), (3, 0), (-2, 4)])
def test_boxes_move_with_the_content(down, right):
    """Three blocks see 6 patches far, so an object 13 patches inside and the border never meet.

    The moved sums are the same numbers added in another order, times 60: hence 1e-4 of the image,
    a 300th of a patch.
    """
    side, patch = 32, (15, 14)
    maps = torch.zeros(1, 12, side, side)
    maps[0, :, patch[0], patch[1]] = torch.randn(12, generator=torch.Generator().manual_seed(3))
    network = attending_detector(maps, patch)
    _, before = network(maps)
    _, after = network(maps.roll((down, right), dims=(2, 3)))
    box = [(patch[1] + 0.5) / side, (patch[0] + 0.5) / side, 1 / side, 1 / side]
    torch.testing.assert_close(before[0], torch.tensor([box] * 4), atol=1e-4, rtol=0)
    moved = before + torch.tensor([right / side, down / side, 0, 0])
    torch.testing.assert_close(after, moved, atol=1e-4, rtol=0)


def test_crossed_sides_are_put_in_order():
    """Exchanging what the left side reads with what the right one reads, likewise top and bottom.

    With sides D apart and patches of p, that turns a size of |D + p| into |D - p|: the two differ
    by 2p or add up to it.
    """
    torch.manual_seed(0)
    network = build_detector(SPECS["attention"]).eval()
    maps = random_maps("spatial")
    with torch.no_grad():
        network.sides.weight *= 100  # attention of single patches, sides far apart
        _, boxes = network(maps)
        weight, bias = network.sides.weight.view(4, 4, -1), network.sides.bias.view(4, 4)
        weight.copy_(weight[:, [2, 3, 0, 1]].clone())
        bias.copy_(bias[:, [2, 3, 0, 1]].clone())
        _, exchanged = network(maps)
    torch.testing.assert_close(exchanged[..., :2], boxes[..., :2])
    size, other = boxes[..., 2:], exchanged[..., 2:]
    assert (torch.cat((size, other)) >= 0).all()
    twice = torch.tensor([2 / 9, 2 / 7]).expand_as(size)
    differ, add_up = (size - other).abs().isclose(twice), (size + other).isclose(twice)
    assert (differ | add_up).all()
    assert differ.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_boxes": 0}, r"num_boxes \(k\) is 0"),
        ({"num_boxes": -1}, r"num_boxes \(k\) is -1"),
        ({"network": "vgg11"}, "'vgg11' is unknown"),
        ({"network": "resnet7"}, "'resnet7' is unknown"),
        ({"layout": "flat"}, "'flat' is unknown"),
        ({"network": "attention", "layout": "qkv_image", "channels": 3}, "layout spatial only"),
    ],
)
def test_bad_specification_is_refused(changes, message):
    given = {"network": "resnet18", "layout": "spatial", "channels": 12, "num_boxes": 4} | changes
    with pytest.raises(InputError, match=message):
        build_detector(DetectorSpec(**given))


def test_kinds():
    assert isinstance(build_detector(SPECS["attention"]), AttentionDetector)
    assert isinstance(build_detector(SPECS["resnet, qkv"]), ResNetDetector)


def test_saved_detector_is_the_same(detector, tmp_path):
    detector.train()(random_maps(detector.spec.layout))  # moves the batch norms off their start
    path = tmp_path / "h.safetensors"
    save_detector(path, detector, {"stage": "test"})
    loaded = load_detector(path)
    assert loaded.spec == detector.spec
    assert not loaded.training
    maps = random_maps(detector.spec.layout, seed=1)
    for mine, theirs in zip(detector.eval()(maps), loaded(maps), strict=True):
        assert torch.equal(mine, theirs)
    save_detector(tmp_path / "again.safetensors", loaded, {"stage": "test"})
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_weights_of_something_else_are_no_detector(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "f.safetensors")
    with pytest.raises(InputError, match="holds no detector"):
        load_detector(tmp_path / "f.safetensors")


def test_channels_are_checked(detector):
    require_channels(detector, (3, 63, 4), "inputs")
    wrong = (1, 63, 5)
    with pytest.raises(InputError, match="inputs: maps give"):
        require_channels(detector, wrong, "inputs")


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(7)
    return models.resnet18(weights=None).state_dict()


def pretrained(tensors, path):
    save_file({name: t.contiguous() for name, t in tensors.items()}, path)
    return path


@pytest.mark.parametrize("with_fc", [True, False], ids=["with fc", "without fc, as DINO's"])
@pytest.mark.parametrize("name", ["resnet, spatial", "resnet, qkv"])
def test_trunk_from_torchvision_weights(tmp_path, resnet, name, with_fc):
    given = {n: t for n, t in resnet.items() if with_fc or not n.startswith("fc.")}
    detector = build_detector(SPECS[name])
    before = {n: t.clone() for n, t in detector.network.state_dict().items()}
    initialize_trunk(detector, pretrained(given, tmp_path / "resnet.safetensors"))
    kept = {"fc.weight", "fc.bias"} | ({"conv1.weight"} if name == "resnet, spatial" else set())
    for tensor_name, tensor in detector.network.state_dict().items():
        source = before if tensor_name in kept else resnet
        assert torch.equal(tensor, source[tensor_name]), tensor_name


@pytest.mark.parametrize("missing", ["conv1.weight", "layer3.1.bn2.bias"])
def test_trunk_that_misses_a_tensor_is_refused(tmp_path, resnet, missing):
    given = {name: tensor for name, tensor in resnet.items() if name != missing}
    path = pretrained(given, tmp_path / "resnet.safetensors")
    with pytest.raises(InputError, match=missing) as caught:
        initialize_trunk(build_detector(SPECS["resnet, qkv"]), path)
    assert "\n" not in str(caught.value)


def test_trunk_of_another_network_is_refused(tmp_path, resnet):
    path = pretrained(resnet, tmp_path / "resnet.safetensors")
    spec = DetectorSpec("resnet34", "qkv_image", channels=3)
    with pytest.raises(InputError, match="do not fit architecture resnet34"):
        initialize_trunk(build_detector(spec), path)
    with pytest.raises(InputError, match="only a ResNet"):
        initialize_trunk(build_detector(SPECS["attention"]), path)
