"""The networks' work that gpu_throughput.py measures, through the functions that the stages run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import extract_features
import numpy as np
import open_clip
import torch
from gpu_limits import MODES, arithmetic, demand, median_seconds
from gpu_rows import AS_IT_IS, WAYS, Bench, Row, Way, memory_to_itself, peak_memory, steps_row
from grounding_data import tiny_clip
from torch import nn

from bbr.backbones.base import Backbone, BackboneSpec
from bbr.backbones.build import build_backbone
from bbr.backbones.frozen_states import StateOptions
from bbr.backbones.known_features import ReuseOptions
from bbr.backbones.native_extraction import StoredOptions
from bbr.backbones.options import BackboneOptions
from bbr.cad.batches import CadBatches, PseudoLabelled
from bbr.cad.network import build_cad
from bbr.clip.network import Clip
from bbr.command_line.devices import autocast
from bbr.command_line.run_options import ComputeOptions, SkipOptions
from bbr.data.index import ShardOptions, load_index
from bbr.data.loading import SquareImages, native_size_windows
from bbr.detector.inputs_h5 import DetectorInputs, create_detector_inputs
from bbr.detector.networks import build_detector
from bbr.detector.set_loss import LossWeights, set_loss
from bbr.detector.targets import as_target_list, load_targets
from bbr.grounding.batches import GroundingBatches
from bbr.grounding.losses import REFINEMENT_WEIGHTS
from bbr.grounding.network import Grounder
from bbr.grounding.objective import GroundingObjective, Lesson, Teacher
from bbr.grounding.texts import Entry
from bbr.heuristics.registry import heuristic_options
from bbr.refinement.batches import RefinementBatches
from bbr.refinement.detector_batches import AugmentedBatches, BatchSource, CachedBatches
from bbr.refinement.objective import Refinement, RefinementOptions
from bbr.training.loop import batch_indices, step_generator


def random_backbone(bench: Bench) -> Backbone:
    """f at this scale."""
    torch.manual_seed(0)
    return build_backbone(BackboneSpec(bench.scale.architecture, bench.scale.arguments)).eval()


def network_rows(bench: Bench) -> Iterator[Row]:
    """f on images that lie on the device already."""
    scale, backbone = bench.scale, random_backbone(bench).to(bench.device)
    shape = (scale.extract_batch, 3, *scale.photograph)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=bench.device)

    for mode in MODES:

        @torch.inference_mode()
        def work(mode: str = mode) -> None:
            with arithmetic(mode), autocast(bench.device, mode):
                backbone(backbone.prepare(images))

        with memory_to_itself(bench.device):
            seconds = median_seconds(work, bench.device, bench.scale.repeats)
            peak = peak_memory(bench.device)
        what = f"features, network only, batches of {len(images)}"
        yield Row(what, mode, "images", len(images), seconds, demand(work), peak)


def extraction_rows(bench: Bench) -> Iterator[Row]:
    """Decoding alone, and extract_features.py from JPEG files to features.h5."""
    dataset = load_index(bench.index)
    count = len(dataset.images)

    def decode() -> None:
        for _ in native_size_windows(dataset, dataset.images, 64):
            pass

    seconds = median_seconds(decode, bench.device, 1, warm_up=0)
    yield Row("features, decoding of JPEG files alone", "cpu", "images", count, seconds)
    for mode in ("fp32", "bf16"):
        with memory_to_itself(bench.device):
            seconds = median_seconds(lambda mode=mode: _extract(bench, mode), bench.device, 1, 1)
            peak = peak_memory(bench.device)
        what = "features, the whole stage: JPEG files to features.h5"
        yield Row(what, mode, "images", count, seconds, None, peak)


def _extract(bench: Bench, mode: str) -> None:
    scale = bench.scale
    extract_features.run(
        files=extract_features.Files(bench.index, bench.folder / "features.h5"),
        backbone=BackboneOptions("random", scale.architecture, scale.arguments),
        kept=StateOptions(),
        known=ReuseOptions(),
        part=ShardOptions(),
        storage=StoredOptions(batch_size=scale.extract_batch),
        skips=SkipOptions(),
        compute=ComputeOptions(bench.device.type, mode),
    )


def detector_rows(bench: Bench) -> Iterator[Row]:
    """h from maps on disk, and from images: f, LOST and augmentation at each step."""
    scale = bench.scale
    dataset = load_index(bench.index)
    images = SquareImages(dataset, scale.image_size)
    positions, targets = load_targets(bench.boxes, dataset)
    backbone = random_backbone(bench).to(bench.device)
    lost = heuristic_options("lost", {})
    count = min(2 * scale.batch, len(positions))
    with DetectorInputs(random_inputs(bench, backbone, count)) as cached:
        sources: dict[str, tuple[BatchSource, int]] = {
            "cached inputs": (
                CachedBatches(cached, positions, targets, scale.detector.layout),
                count,
            ),
            "images (f, LOST, augmentation)": (
                AugmentedBatches(images, backbone, "qkv", scale.detector.layout, "lost", lost),
                len(positions),
            ),
        }
        for what, (source, among) in sources.items():

            def build(fabric: Any, source: BatchSource = source, among: int = among) -> Any:
                def loss(model: nn.Module, step: int) -> torch.Tensor:
                    chosen = batch_indices(among, scale.batch, 0, step)
                    maps, boxes = source.batch(chosen, step_generator(0, step))
                    logits, predicted = model(fabric.to_device(maps))
                    wanted = as_target_list(fabric.to_device(boxes))
                    return set_loss(logits.float(), predicted.float(), wanted, LossWeights())[
                        "total"
                    ]

                return build_detector(scale.detector).train(), loss

            name = f"h, {scale.detector.network}, batch {scale.batch}, from {what}"
            for mode, way in training_ways(bench, what == "cached inputs"):
                yield steps_row(bench, name, mode, build, way=way)


def random_inputs(bench: Bench, backbone: Backbone, count: int) -> Path:
    """A file of what h reads, of random numbers."""
    path, side = bench.folder / "inputs.h5", bench.scale.image_size
    grid = backbone.grid_of(side, side)
    shape = (3, grid[0] * grid[1], backbone.dim)
    with create_detector_inputs(
        path,
        count=count,
        shape=shape,
        grid=grid,
        image_size=side,
        parts="qkv",
        dtype="float16",
        provenance={},
    ) as file:
        file["image_id"][:] = range(count)
        file["maps"][:] = np.random.default_rng(0).standard_normal((count, *shape), np.float32)
    return path


def training_ways(bench: Bench, cached_inputs: bool) -> Iterator[tuple[str, Way]]:
    """In which arithmetic and how h is trained: all ways once, since its inputs change none."""
    for mode in MODES if cached_inputs else ("fp32", "bf16"):
        emulated = mode == "bf16" and bench.device.type == "cpu"
        for way in WAYS if cached_inputs and not emulated else (AS_IT_IS,):
            yield mode, way


def refinement_rows(bench: Bench) -> Iterator[Row]:
    """A step of f^h through h, all blocks moving, images augmented and boxes anew (the paper's)."""
    scale = bench.scale
    dataset = load_index(bench.index)
    images = SquareImages(dataset, scale.image_size)
    everything = torch.arange(len(dataset.images))

    def build(fabric: Any) -> Any:
        detector = build_detector(scale.detector)
        backbone = random_backbone(bench)
        lost = heuristic_options("lost", {})
        model = Refinement(
            backbone, detector, "qkv", "lost", lost, RefinementOptions(), LossWeights()
        )
        grid = backbone.grid_of(scale.image_size, scale.image_size)
        batches = RefinementBatches(images, everything, None, scale.batch, 0)

        def loss(wrapped: nn.Module, step: int) -> torch.Tensor:
            generator = step_generator(0, step)
            with fabric.autocast():
                chosen = batches.indices(step, fabric)
                fixed = batches.batch(chosen, generator, model, fabric)
            return wrapped(fixed, grid, generator)["total"]

        return model, loss

    name = f"f^h, {scale.architecture} at {scale.image_size} pixels, batch {scale.batch}"
    for mode in MODES:
        yield steps_row(bench, name, mode, build)


def cad_rows(bench: Bench) -> Iterator[Row]:
    """CAD at its largest training size."""
    scale = bench.scale
    data = PseudoLabelled(load_index(bench.index), str(bench.boxes))

    def build(fabric: Any) -> Any:
        torch.manual_seed(0)
        network = build_cad(scale.cad, None, scale.cad_training).train()
        batches = CadBatches(data, scale.cad_batch, 0)

        def loss(wrapped: nn.Module, step: int) -> torch.Tensor:
            with fabric.autocast():
                seen = batches.batch(step, step_generator(0, step), network)
            return wrapped(seen)["total"]

        return network, loss

    side = scale.cad_training.train_sizes[0]
    name = f"CAD, {scale.cad.network}, batch {scale.cad_batch}, {side} pixels"
    for mode in ("fp32", "bf16"):
        yield steps_row(bench, name, mode, build, min(3, scale.repeats), sgd=True)


def grounder_rows(bench: Bench) -> Iterator[Row]:
    """A step of g^h through h, with CLIP and its relevancy maps."""
    scale = bench.scale
    dataset = load_index(bench.index)
    choices = [
        [Entry(i, image["id"], 0, ("a red disc",))] for i, image in enumerate(dataset.images)
    ]
    _, targets = load_targets(bench.boxes, dataset)

    def build(fabric: Any) -> Any:
        torch.manual_seed(0)
        clip = random_clip(scale.clip)
        dim = clip.encode_texts(["a"]).shape[1]
        grounder = Grounder(replace(scale.grounder, text_dim=dim)).eval()
        side = (scale.image_size, scale.image_size)
        teacher = Teacher(build_detector(scale.heatmap_detector), side, LossWeights())
        model = GroundingObjective(grounder, clip, REFINEMENT_WEIGHTS, teacher).eval()
        images = SquareImages(dataset, scale.image_size)
        batches = GroundingBatches(images, choices, grounder, clip, fabric)

        def loss(wrapped: nn.Module, step: int) -> torch.Tensor:
            chosen = batch_indices(len(batches), scale.batch, 0, step)
            batch = batches.batch(chosen, step_generator(0, step))
            wanted = as_target_list(fabric.to_device(targets[chosen]))
            return wrapped(batch, lambda _: Lesson(wanted, wanted))["total"]

        return model, loss

    name = f"g^h, {scale.grounder.trunk}, CLIP {scale.clip or 'tiny'}, batch {scale.batch}"
    for mode in MODES:
        yield steps_row(bench, name, mode, build)


def random_clip(architecture: str) -> Clip:
    """open_clip's network without weights; without a name a tiny one."""
    if not architecture:
        return tiny_clip()
    model = open_clip.create_model(architecture, pretrained=None)
    settings = open_clip.get_model_preprocess_cfg(model)
    side = settings["size"]
    size = (side, side) if isinstance(side, int) else tuple(side)
    tokenize = open_clip.get_tokenizer(architecture)
    return Clip(model, tokenize, size, settings["mean"], settings["std"])
