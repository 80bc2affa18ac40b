"""CAD against Detectron2's R50-C4, and its own parts by hand."""

import re
from collections import OrderedDict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from small_cad import FEW, SMALL, batch, small_cad
from torch import nn

from bbr.cad.network import build_cad, load_cad, save_cad
from bbr.cad.options import TORCHVISION_BETA, CadPrediction, CadSpec, CadTraining
from bbr.cad.parts import BoxPredictor, DepthwiseConv, RegionHead, RegionPool
from bbr.errors import InputError
from bbr.training.distributed import launch

# --- The published layout


def norm(name, channels):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.norm.{part}": (channels,) for part in parts}


def convolution(name, out_channels, in_channels, size):
    shape = (out_channels, in_channels, size, size)
    return {f"{name}.weight": shape, **norm(name, out_channels)}


def stage(name, blocks, in_channels, width):
    """A stage of bottleneck blocks: 1 × 1, 3 × 3, 1 × 1 to four times the width."""
    table = convolution(f"{name}.0.shortcut", 4 * width, in_channels, 1)
    for block in range(blocks):
        entering = in_channels if block == 0 else 4 * width
        table |= convolution(f"{name}.{block}.conv1", width, entering, 1)
        table |= convolution(f"{name}.{block}.conv2", width, width, 3)
        table |= convolution(f"{name}.{block}.conv3", 4 * width, width, 1)
    return table


# Detectron2's names and shapes for one class, CLS_AGNOSTIC_BBOX_REG off, 5 sizes × 3 ratios.
DETECTRON2 = {
    **convolution("backbone.stem.conv1", 64, 3, 7),
    **stage("backbone.res2", 3, 64, 64),
    **stage("backbone.res3", 4, 256, 128),
    **stage("backbone.res4", 6, 512, 256),
    **stage("roi_heads.res5", 3, 1024, 512),
    **norm("roi_heads.res5", 2048),  # the extra one
    "proposal_generator.rpn_head.conv.weight": (1024, 1024, 3, 3),
    "proposal_generator.rpn_head.conv.bias": (1024,),
    "proposal_generator.rpn_head.objectness_logits.weight": (15, 1024, 1, 1),
    "proposal_generator.rpn_head.objectness_logits.bias": (15,),
    "proposal_generator.rpn_head.anchor_deltas.weight": (60, 1024, 1, 1),
    "proposal_generator.rpn_head.anchor_deltas.bias": (60,),
    "roi_heads.box_predictor.cls_score.weight": (2, 2048),
    "roi_heads.box_predictor.cls_score.bias": (2,),
    "roi_heads.box_predictor.bbox_pred.weight": (4, 2048),
    "roi_heads.box_predictor.bbox_pred.bias": (4,),
}
RENAMED = (
    (r"^levels\.0\.conv1\.", "backbone.stem.conv1."),
    (r"^levels\.0\.bn1\.", "backbone.stem.conv1.norm."),
    (r"^levels\.1\.layer1\.", "backbone.res2."),
    (r"^levels\.2\.layer2\.", "backbone.res3."),
    (r"^levels\.3\.layer3\.", "backbone.res4."),
    (r"^roi_heads\.box_head\.level\.layer4\.", "roi_heads.res5."),
    (r"^roi_heads\.box_head\.norm\.", "roi_heads.res5.norm."),
    (r"^rpn\.head\.conv\.0\.0\.", "proposal_generator.rpn_head.conv."),
    (r"^rpn\.head\.cls_logits\.", "proposal_generator.rpn_head.objectness_logits."),
    (r"^rpn\.head\.bbox_pred\.", "proposal_generator.rpn_head.anchor_deltas."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
)


@pytest.fixture(scope="module")
def paper():
    """At paper scale, without memory for its weights."""
    with torch.device("meta"):
        return build_cad(CadSpec())


def test_names_and_shapes_are_those_of_detectron2(paper):
    ours = {}
    for name, tensor in paper.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        ours[name] = tuple(tensor.shape)
    assert ours == DETECTRON2


def test_stride_lies_in_the_3x3_convolution(paper):
    for name, module in paper.named_modules():
        first_block = re.search(r"layer[234]\.0\.conv(\d)$", name)
        if first_block:
            assert module.stride == ((2, 2) if first_block[1] == "2" else (1, 1)), name


def test_stem_and_res2_are_frozen(paper):
    frozen = {name.split(".")[1] for name, p in paper.named_parameters() if not p.requires_grad}
    assert frozen == {"0", "1"}
    assert all(p.requires_grad for name, p in paper.named_parameters() if "levels" not in name)


def test_paper_settings(paper):
    assert CadTraining().train_sizes == (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    assert paper.rpn._pre_nms_top_n == {"training": 12000, "testing": 6000}
    assert paper.rpn._post_nms_top_n == {"training": 2000, "testing": 1000}
    assert (paper.roi_heads.score_thresh, paper.roi_heads.nms_thresh) == (0.01, 0.4)
    assert paper.resize.max_size == 1333
    assert paper.resize.size_divisible == 16


# --- Parts by hand


def test_anchors_of_a_cell():
    """Size 32: ratio 1 is 32 × 32; 0.5 is 45.3 wide and 22.6 high, halves rounded; 2 upright."""
    generator = small_cad(anchor_sizes=(32,)).rpn.anchor_generator
    images = SimpleNamespace(tensors=torch.empty(1, 3, 16, 24), image_sizes=[(16, 24)])
    anchors = generator(images, [torch.empty(1, 1, 2, 3)])[0]
    assert anchors[:3].tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]
    # 2 × 3 cells of 8 pixels, row by row.
    assert anchors[1::3, 0].tolist() == [-16, -8, 0, -16, -8, 0]
    assert anchors[1::3, 1].tolist() == [-16, -16, -16, -8, -8, -8]


def test_regions_are_sampled_at_cell_centres():
    """A map that says where it is: cells of stride 4 have centres at 2, 6, 10, ... pixels."""
    x = torch.arange(8.0).expand(8, 8) * 4 + 2
    maps = {"map": torch.stack((x, x.T))[None]}
    regions = RegionPool(2, 4)(maps, [torch.tensor([[8.0, 4.0, 24.0, 12.0]])], [(32, 32)])
    assert regions[0, 0].tolist() == [[12, 20], [12, 20]]
    assert regions[0, 1].tolist() == [[6, 6], [10, 10]]


def test_extra_norm_acts_after_the_level():
    head = RegionHead(nn.Conv2d(3, 5, 1), 5).train()
    regions = torch.randn(6, 3, 4, 4)
    features = head(regions)
    assert features.shape == (6, 5)
    # Normalised over regions and cells, so that the mean over both is 0 (to float32's rounding).
    assert features.mean(dim=0).abs().max() < 1e-5
    plain = head.level(regions)
    spread = (plain - plain.mean((0, 2, 3), keepdim=True)).mean((2, 3))
    spread = spread / (plain.var((0, 2, 3), unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(features, spread)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 3), (4, 2), (5, 5), (7, 6)])
@pytest.mark.parametrize(("kernel", "bias"), [(3, False), (5, True), ((3, 5), False)])
def test_depthwise_convolutions_of_small_maps_are_torch_s(kernel, bias, size):
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = tuple(side // 2 for side in sides)
    conv = nn.Conv2d(6, 6, sides, padding=padding, groups=6, bias=bias)
    assert DepthwiseConv.fits(conv)
    maps = torch.randn(4, 6, *size, requires_grad=True)
    weights = torch.randn(4, 6, *size)
    results = [
        (out := module(maps), *torch.autograd.grad((out * weights).sum(), (maps, conv.weight)))
        for module in (conv, DepthwiseConv(conv))
    ]
    for usual, small in zip(*results, strict=True):
        # Sums of at most 25 products, in another order.
        torch.testing.assert_close(small, usual, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"stride": 2},
        {"padding": 0},
        {"groups": 3},
        {"kernel_size": 1, "padding": 0},
        {"kernel_size": 4},
        {"dilation": 2},
        {"padding_mode": "reflect"},
        {"out_channels": 12},
    ],
)
def test_other_convolutions_stay_as_they_are(change):
    usual = {"out_channels": 6, "kernel_size": 3, "padding": 1, "groups": 6}
    conv = nn.Conv2d(6, **(usual | change))
    holder = nn.Sequential(nn.Sequential(conv), nn.ReLU())
    DepthwiseConv.replace_in(holder)
    assert holder[0][0] is conv


def test_replaced_convolutions_keep_their_names_and_weights():
    conv = nn.Conv2d(6, 6, 3, padding=1, groups=6)
    holder = nn.Sequential(OrderedDict(inner=nn.Sequential(conv)))
    before = holder.state_dict()
    DepthwiseConv.replace_in(holder)
    assert type(holder.inner[0]) is DepthwiseConv
    assert holder.inner[0].weight is conv.weight
    assert holder.state_dict().keys() == before.keys()


def losses_of(beta):
    training = replace(FEW, smooth_l1_beta=beta)
    torch.manual_seed(0)
    network = build_cad(SMALL, None, training, CadPrediction(test_size=64)).train()
    torch.manual_seed(1)
    return network(network.see(*batch()))


def test_box_losses_are_torchvision_s_but_for_beta():
    """As near to its β as floats come, by ours and by its own code."""
    given, nearly = losses_of(TORCHVISION_BETA), losses_of(TORCHVISION_BETA * (1 + 1e-12))
    for name, loss in given.items():
        torch.testing.assert_close(nearly[name], loss)
    plain = losses_of(0.0)
    for name in ("loss_rpn_box_reg", "loss_box_reg"):
        # |x| - β / 2 or less: what β = 0 adds to each of 4 numbers of a positive, among 8 or 4.
        assert given[name] < plain[name] < given[name] + 4 * TORCHVISION_BETA / 2
    assert torch.equal(plain["loss_classifier"], given["loss_classifier"])


def test_without_beta_proposals_lose_the_plain_distance():
    """Detectron2's: the sum of |x| over positives, divided by all that were drawn."""
    network = build_cad(SMALL, None, replace(FEW, smooth_l1_beta=0.0)).rpn
    labels = [torch.tensor([1.0, 0.0, 1.0, -1.0])]
    deltas, wanted = torch.randn(4, 4), torch.randn(4, 4)
    _, loss = network.compute_loss(torch.randn(4, 1), deltas, labels, [wanted])
    expected = sum(abs(float(deltas[i, k] - wanted[i, k])) for i in (0, 2) for k in range(4)) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_background_has_no_deltas():
    logits, deltas = BoxPredictor(3)(torch.randn(2, 3))
    assert logits.shape == (2, 2)
    assert deltas.shape == (2, 8)
    assert torch.equal(deltas[:, :4], torch.zeros(2, 4))
    assert deltas[:, 4:].abs().min() > 0


# --- Training and prediction


def test_resized_images_and_boxes():
    """64 × 128 pixels, the longer side held at 96: both sides by 0.75; padding to 8."""
    network = small_cad(max_size=96)
    image = torch.zeros(3, 64, 128, dtype=torch.uint8)
    seen = network.train().see([image, image[:, :, :64]], [torch.tensor([[8.0, 16, 40, 64]])] * 2)
    assert seen.sizes == [(48, 96), (64, 64)]
    assert seen.padded == (64, 96)
    assert seen.features.shape == (2, 24, 16, 24)
    assert seen.boxes[0].tolist() == [[6, 12, 30, 48]]
    assert seen.boxes[1].tolist() == [[8, 16, 40, 64]]


def test_frozen_levels_do_not_move_and_all_others_do():
    network = small_cad().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameter_groups(1e-4), 0.1, 0.9)
    for _ in range(2):
        optimizer.zero_grad()
        network(network.see(*batch()))["total"].backward()
        optimizer.step()
    same = {name for name, t in network.state_dict().items() if torch.equal(t, before[name])}
    assert same == {name for name in before if name.startswith(("levels.0", "levels.1"))}


def test_losses_by_name():
    losses = small_cad().train()(small_cad().train().see(*batch()))
    parts = ["loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"]
    assert list(losses) == [*parts, "total"]
    torch.testing.assert_close(losses["total"], sum(losses[part] for part in parts))


def test_norms_are_not_decayed():
    decayed, kept = small_cad().parameter_groups(0.1)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in kept["params"]} == {1}
    named = dict(small_cad().named_parameters())
    trained = [p for p in named.values() if p.requires_grad]
    assert len(decayed["params"]) + len(kept["params"]) == len(trained)


def test_detections_lie_in_the_image_best_first():
    network = small_cad().eval()
    images, _ = batch()
    images = [image[:, :48] for image in images]
    with torch.inference_mode():
        seen = network.see(images)
        found = network.restore(network(seen), seen, [(48, 64)] * 2)
    for of_image in found:
        boxes, scores = of_image["boxes"], of_image["scores"]
        assert len(boxes) > 0
        assert boxes.min() >= 0
        assert (boxes[:, 2:] <= torch.tensor([64.01, 48.01])).all()  # float32 of 64 / 85 and back
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)


def test_coordinates_stay_float32_under_mixed_precision():
    """bfloat16 has 8 bits: at 60 pixels it can only tell multiples of a quarter."""
    fabric = launch("cpu", "bf16")
    network = small_cad().eval()
    wrapped = fabric.setup(network)
    images, _ = batch()
    with torch.inference_mode(), fabric.autocast():
        found = wrapped(network.see(images))[0]["boxes"]
    assert found.dtype == torch.float32
    assert ((4 * found) % 1 != 0).any()
    seen = network.train().see(*batch())
    seen.boxes = [boxes + 0.1 for boxes in seen.boxes]
    wrapped.train()
    assert torch.isfinite(wrapped(seen)["total"])
    assert seen.boxes[0].dtype == torch.float32


def test_files(tmp_path):
    network, path = small_cad(), tmp_path / "cad.safetensors"
    save_cad(path, network, {"stage": "test"})
    again = load_cad(path, CadPrediction(test_size=64))
    assert again.spec == network.spec
    assert not again.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "foo"}, "'foo' is not one of timm's"),
        ({"network": "vit_tiny_patch16_224"}, "vit_tiny_patch16_224"),
        ({"network": "densenet121"}, "densenet121 is not a plain chain"),
        ({"map_level": 5}, "map level 5"),
        ({"frozen_levels": 4}, "frozen levels 4"),
    ],
)
def test_bad_specifications(changes, message):
    with pytest.raises(InputError, match=message):
        small_cad(**changes)


@pytest.mark.slow
def test_one_step_at_paper_scale():
    torch.manual_seed(0)
    training = CadTraining(train_sizes=(800,))
    network = build_cad(CadSpec(), None, training).train()
    image = torch.randint(256, (3, 600, 800), dtype=torch.uint8)
    seen = network.see([image], [torch.tensor([[100.0, 100.0, 400.0, 500.0]])])
    assert seen.sizes == [(800, 1066)]
    assert seen.features.shape == (1, 256, 200, 268)
    losses = network(seen)
    losses["total"].backward()
    assert torch.isfinite(losses["total"])
    trained = [p for p in network.parameters() if p.requires_grad]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)
