"""What the paper's tables cost, computed: operations counted on networks without memory, and bytes.

    python -m pytest -m bench -s benchmarks/test_paper_costs.py

Nothing is measured here, and nothing runs. Photographs are taken to have the sizes that most of
them have, 375 x 500 pixels in VOC and 480 x 640 in COCO, Visual Genome and ReferIt.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models
from transformers import BlipConfig, BlipForConditionalGeneration

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone
from bbr.cad.trunk import build_levels
from bbr.grounding.network import Grounder, GrounderSpec

pytestmark = pytest.mark.bench

PAPER = Path(__file__).parents[1] / "workflow" / "configs" / "paper.yaml"
SIZES = {"voc07": (375, 500), "voc12": (375, 500), "coco20k": (480, 640)}
HEAD_IMAGE = (640, 853)  # of CAD in training: the mean of its sizes, at COCO's shape
SIDE = 304
HALF, FULL = 2, 4  # bytes of a number
# Test phrases: Flickr30k's phrase ids and their sentences, WWbL's count of Visual Genome's images
# at 50 regions each, ReferIt's expressions; to the nearest thousand.
TEST_PHRASES = {"vg_test": 17_478 * 50, "flickr30k_test": 5_000, "referit_test": 60_000}
TRAINED_ON = ("coco", "vg")
TEXTS = 5  # of each image that g^h is trained on
# Of each image that is described: regions, as 12 photographs of COCO have them, and descriptions,
# which is a guess; and the tokens of a caption.
REGIONS, DESCRIPTIONS, TOKENS = 225, 10, 12


@cache
def config() -> dict[str, Any]:
    """The paper's configuration, without what lies below it."""
    return yaml.safe_load(PAPER.read_text(encoding="utf-8"))


def count(work: Callable[[], Tensor], backward: bool = False) -> float:
    """Operations of a forward pass, and of the backward one; a product and its sum are two."""
    counter = FlopCounterMode(display=False)
    with counter, torch.set_grad_enabled(backward):
        result = work()
        if backward:
            result.sum().backward()
    return counter.get_total_flops()


def on_meta(build: Callable[[], nn.Module], frozen: bool = False) -> nn.Module:
    """A network without memory."""
    with torch.device("meta"):
        return build().eval().requires_grad_(not frozen)


def pixels(*shape: int, moves: bool = False) -> Tensor:
    """A batch without memory; gradients reach it where it `moves`."""
    return torch.empty(*shape, device="meta", requires_grad=moves)


def vit(patch: int) -> Callable[[int, int], float]:
    """Operations of a forward pass of DINO's ViT-S on an image of this size."""
    network = on_meta(
        lambda: build_backbone(BackboneSpec(f"vit_small_patch{patch}_224.dino")).network
    )

    def on(height: int, width: int) -> float:
        tokens = -(-height // patch) * -(-width // patch) + 1
        state = pixels(1, tokens, 384)
        blocks = count(lambda: network.blocks(state))
        return blocks + 2 * 384 * 3 * patch**2 * tokens

    return on


@cache
def costs() -> dict[str, float]:
    """Operations of each kind of work on one image, or sample of training."""
    small, fine = vit(16), vit(8)
    f = small(SIDE, SIDE)
    resnet = on_meta(lambda: models.resnet50(weights=None))
    h = count(lambda: resnet(pixels(1, 3, 361, 384)), backward=True)
    mask_h = count(lambda: resnet(pixels(1, 3, SIDE, SIDE)), backward=True)
    frozen = on_meta(lambda: models.resnet50(weights=None), frozen=True)
    through_h = count(lambda: frozen(pixels(1, 3, 361, 384, moves=True)), backward=True)
    grounder = on_meta(lambda: Grounder(GrounderSpec()))
    texts = pixels(1, 512)
    g = count(lambda: grounder(pixels(1, 3, SIDE, SIDE), texts), backward=True)
    vgg = on_meta(lambda: models.vgg16(weights=None))
    phrase_h = count(lambda: vgg(pixels(1, 3, SIDE, SIDE)), backward=True)
    clip = on_meta(lambda: open_clip.create_model("ViT-B-32-quickgelu", device="meta"), frozen=True)
    image = count(lambda: clip.encode_image(pixels(1, 3, 224, 224, moves=True)), backward=True)
    words = torch.zeros(1, 77, dtype=torch.long, device="meta")
    text = count(lambda: clip.encode_text(words))
    levels = build_levels("resnet50").modules
    with torch.device("meta"):
        trunk = nn.Sequential(*levels[:4]).to("meta").eval()
        head = levels[4].to("meta").eval()
    regions = config()["cad"]["training"]["roi_batch"]
    cad = count(lambda: trunk(pixels(1, 3, *HEAD_IMAGE)), backward=True)
    cad += regions * count(lambda: head(pixels(1, 1024, 14, 14)), backward=True)
    blip = on_meta(lambda: BlipForConditionalGeneration(BlipConfig()), frozen=True)
    side = BlipConfig().vision_config.image_size
    seen = count(lambda: blip.vision_model(pixels(1, 3, side, side)).last_hidden_state)
    said = torch.zeros(1, TOKENS, dtype=torch.long, device="meta")
    states = pixels(1, (side // 16) ** 2 + 1, 768)
    spoken = count(lambda: blip.text_decoder(said, encoder_hidden_states=states).logits)
    return {
        **{f"vits16 {name}": small(*size) for name, size in SIZES.items()},
        **{f"vits8 {name}": fine(*size) for name, size in SIZES.items()},
        "step of h": f + h,
        "step of f^h": f + 3 * f + through_h,
        "step of MOVE's h": fine(SIDE, SIDE) + mask_h,
        "step of MOVE's f^h": fine(SIDE, SIDE) + mask_h,
        "step of CAD": cad,
        "step of phrase h": phrase_h,
        "heatmap": g / 3,
        "caption": seen + config()["captioning"]["beams"] * spoken,
        # g^h, CLIP of what it shows and of what it hides, its relevancy, h
        "step of g^h": g + 3 * image + text + phrase_h,
    }


def patches(size: tuple[int, int], patch: int) -> int:
    """Of a photograph."""
    return -(-size[0] // patch) * -(-size[1] // patch)


def samples(section: dict[str, Any]) -> int:
    """Images that a training sees, repeats counted."""
    return section["steps"] * section["batch_size"]


def discovery(table: str) -> tuple[float, float]:
    """Operations and bytes of Table 4 (each method on f and f^h, with CAD or not) or 6."""
    paper, work, cost = config(), 0.0, costs()
    disk = 0.0
    for name in paper["tables"]["table4"]["datasets"]:
        images = paper["datasets"][name]["expected"]["images"]
        features = {16: 0.0, 8: 0.0}
        for patch in features:
            features[patch] = images * patches(SIZES[name], patch) * (384 + 6) * HALF
        cached = images * 3 * patches((SIDE, SIDE), 16) * 384 * HALF
        training = samples(paper["discovery"]["detector"]) * cost["step of h"]
        refining = samples(paper["discovery"]["refinement"]) * cost["step of f^h"]
        extraction = images * cost[f"vits16 {name}"]
        if table == "6":
            work += extraction * 6 + 4 * training + 5 * refining
            disk += 6 * features[16] + cached
            continue
        work += extraction * 4 + 2 * (training + refining)
        disk += 4 * features[16] + cached
        move = paper["heuristics"]["move"]
        work += 2 * images * cost[f"vits8 {name}"]
        work += move["detector"]["steps"] * 36 * cost["step of MOVE's h"]
        work += move["refinement"]["steps"] * 36 * cost["step of MOVE's f^h"]
        disk += 2 * features[8] + images * SIDE**2 * HALF
        cad = paper["cad"]["training"]
        steps = cad["dataset_steps"].get(name, cad["steps"])
        if table == "4":
            # On f and on f^h of each method, and on the boxes of LOD.
            compared = paper["tables"]["table4"]
            trained = 2 * len(compared["methods"]) + len(compared["baseline_cad"])
            work += trained * steps * cad["batch_size"] * cost["step of CAD"]
    return work, disk


def grounding(table: str) -> tuple[float, float]:
    """Operations and bytes of Tables 1 and 2 (two training sets) or 5 (one, four variants)."""
    paper, cost = config()["grounding"], costs()
    trained = TRAINED_ON[:1] if table == "5" else TRAINED_ON
    taught = 4 if table == "5" else 2
    drawn = taught if table == "5" else 5  # gae, two g and two g^h
    heatmap = SIDE**2 * HALF
    maps = TEXTS * sum(expected_images(name) for name in trained)
    tests = sum(TEST_PHRASES.values())
    work = (maps + drawn * tests) * cost["heatmap"]
    work += (2 if table == "5" else taught) * samples(paper["detector"]) * cost["step of phrase h"]
    work += taught * samples(paper["refinement"]) * cost["step of g^h"]
    return work, (maps + drawn * tests) * heatmap


def captioning() -> tuple[float, float]:
    """Operations and bytes of Table 3, once both g^h are there; four networks draw its captions."""
    cost, images = costs(), sum(map(expected_images, TEST_PHRASES))
    drawn = 4 * images * DESCRIPTIONS
    work = images * REGIONS * cost["caption"] + drawn * cost["heatmap"]
    return work, drawn * config()["captioning"]["map_size"] ** 2 * HALF


def expected_images(dataset: str) -> int:
    """How many images a dataset of the paper's has."""
    return config()["datasets"][dataset]["expected"]["images"]


def test_costs(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(table, *discovery(table)) for table in ("4", "4 without CAD", "6")]
    rows += [(table, *grounding(table)) for table in ("1 and 2", "5")]
    rows.append(("3, after those of 1", *captioning()))
    with capsys.disabled():
        print()
        for what, operations in costs().items():
            print(f"| {what} | {operations / 1e9:,.1f} GFLOP |")
        print("| tables | PFLOP | hours at 10 TFLOP/s | features, maps on disk |")
        for table, work, disk in rows:
            hours = work / 1e13 / 3600
            print(f"| {table} | {work / 1e15:,.0f} | {hours:,.0f} | {disk / 1e9:,.0f} GB |")
    # ViT-S/16 at 224 is known to take 4.6 GFLOP of products, each of which counts two.
    assert vit(16)(224, 224) / 2e9 == pytest.approx(4.6, abs=0.1)
    assert all(work > 0 < disk for _, work, disk in rows)
