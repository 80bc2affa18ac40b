"""From a CLIP to g, heatmaps, h and g^h, on tiny networks and a dozen scenes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import export_results
import extract_heatmaps
import heatmap_boxes
import merge_shards
import numpy as np
import predict_boxes
import pytest
import refine_grounder
import render_scenes
import torch
import train_clip
import train_detector
import train_grounder
from safetensors.torch import load_file
from small_runs import command

from bbr.clip.network import load_clip, prompt, to_unit
from bbr.data.images import read_rgb
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.detector.targets import TargetRules
from bbr.grounding import refinement
from bbr.grounding.batches import GroundingBatch
from bbr.grounding.heatmaps_h5 import HeatmapFile
from bbr.grounding.network import load_grounder
from bbr.grounding.refinement import taught_texts
from bbr.grounding.texts import draw_entry, draw_text
from bbr.storage.provenance import read_provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.loop import batch_indices, step_generator

CLIP = command(
    trunk="none",
    image_size=32,
    patch_size=8,
    embed_dim=16,
    width=16,
    layers=1,
    heads=2,
    context_length=16,
    steps=3,
    batch_size=6,
    lr=1e-3,
    warmup=1,
)
GROUNDER = [
    *command(
        trunk="efficientnet_lite0",
        width=8,
        image_size=64,
        steps=3,
        batch_size=4,
        lr=0.02,
        momentum=0.9,
    ),
    "--frozen-trunk",
]
HEATMAPS = command(image_size=64, size=32, batch_size=5)
DETECTOR = command(
    network="attention",
    layout="spatial",
    width=8,
    num_boxes=3,
    cell=4,
    steps=3,
    batch_size=4,
    lr=1e-3,
)
REFINEMENT = command(image_size=64, heatmap_size=32, steps=3, batch_size=4, lr=1e-3)
ONE_THREAD = ["--threads", "1"]


class Files:
    """A chain of outputs in a folder, each made by its stage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index, self.clip = folder / "index.json", folder / "clip.safetensors"
        self.g, self.refined = folder / "g.safetensors", folder / "refined.safetensors"
        self.maps, self.boxes = folder / "maps.h5", folder / "boxes.json"
        self.h = folder / "h.safetensors"

    def train_clip(self, output: Path) -> int:
        return train_clip.main([*command(index=self.index, output=output), *CLIP, *ONE_THREAD])

    def train_g(self, output: Path, *more: str) -> int:
        options = command(index=self.index, clip=self.clip, output=output)
        return train_grounder.main([*options, *GROUNDER, *ONE_THREAD, *more])

    def extract(self, output: Path, *more: str) -> int:
        options = command(index=self.index, clip=self.clip, output=output)
        return extract_heatmaps.main([*options, *HEATMAPS, *ONE_THREAD, *more])

    def train_h(self, output: Path, *more: str) -> int:
        options = command(index=self.index, inputs=self.maps, boxes=self.boxes, output=output)
        return train_detector.main([*options, *DETECTOR, *ONE_THREAD, *more])

    def refine(self, output: Path, *more: str) -> int:
        options = command(
            index=self.index,
            clip=self.clip,
            weights=self.g,
            detector=self.h,
            boxes=self.boxes,
            output=output,
        )
        return refine_grounder.main([*options, *REFINEMENT, *ONE_THREAD, *more])


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    made = Files(tmp_path_factory.mktemp("grounding"))
    scenes = command(preset="entities_test", count=8, size=64, seed=3, output=made.index)
    assert render_scenes.main(scenes) == 0
    assert made.train_clip(made.clip) == 0
    assert made.train_g(made.g) == 0
    assert made.extract(made.maps, "--weights", str(made.g), "--texts", "training") == 0
    boxes = command(heatmaps=made.maps, index=made.index, mode="pseudo", output=made.boxes)
    assert heatmap_boxes.main(boxes) == 0
    _give_every_phrase_a_box(made)
    assert made.train_h(made.h, "--augmentation", "flip_maps") == 0
    assert made.refine(made.refined) == 0
    return made


def _give_every_phrase_a_box(made: Files) -> None:
    """An untrained g need not give any; two boxes for some phrases show that sets are read."""
    with HeatmapFile(made.maps) as file:
        rows = list(zip(file.image_id.tolist(), file.phrase_id.tolist(), strict=True))
    records = [
        {"image_id": i, "phrase_id": p, "bbox": box, "score": 1.0}
        for i, p in rows
        for box in ([4, 4, 20, 20], [30, 30, 20, 25])[: 1 + p % 2]
    ]
    made.boxes.write_text(json.dumps(records))
    made.boxes.with_name("boxes.meta.json").unlink()


def test_there_is_one_map_a_phrase(files):
    index = json.loads(files.index.read_text())
    phrases = {(a["image_id"], a["phrase_id"]) for a in index["annotations"]}
    with HeatmapFile(files.maps) as file:
        assert set(zip(file.image_id.tolist(), file.phrase_id.tolist(), strict=True)) == phrases
        assert file.size == (32, 32)


def test_shards_are_together_the_whole(files, tmp_path):
    """Not bit by bit: a batch of other images may be summed in another order."""
    parts = [tmp_path / f"{i}.h5" for i in range(3)]
    for i, part in enumerate(parts):
        assert (
            files.extract(
                part, "--weights", str(files.g), "--texts", "training", "--shard", f"{i}/3"
            )
            == 0
        )
    options = ["--shards", *map(str, parts), "--output", str(tmp_path / "all.h5")]
    assert merge_shards.main(options) == 0
    with HeatmapFile(files.maps) as whole, HeatmapFile(tmp_path / "all.h5") as merged:
        assert np.array_equal(whole.image_id, merged.image_id)
        assert np.array_equal(whole.phrase_id, merged.phrase_id)
        everything = np.arange(len(whole))
        np.testing.assert_allclose(whole.read(everything), merged.read(everything), atol=1e-3)


def test_a_map_is_the_mean_over_the_sentences(files):
    index = json.loads(files.index.read_text())
    with HeatmapFile(files.maps) as file:
        unit = (int(file.image_id[4]), int(file.phrase_id[4]))
        stored = file.read(np.array([4]))[0]
    sentences = next(
        a["phrases"] for a in index["annotations"] if (a["image_id"], a["phrase_id"]) == unit
    )
    name = next(i["file_name"] for i in index["images"] if i["id"] == unit[0])
    pixels = torch.from_numpy(read_rgb(files.index.parent / "images" / name))
    image = pixels.permute(2, 0, 1).unsqueeze(0).float() / 255
    g, clip = load_grounder(files.g), load_clip(str(files.clip))
    with torch.no_grad():
        maps = [
            g.decode(g.encode(image), clip.encode_texts([prompt(s)]), (32, 32))[0]
            for s in sentences
        ]
    # Half a step of float16 below 1, twice.
    np.testing.assert_allclose(stored, torch.stack(maps).mean(dim=0).numpy(), atol=1e-3)


@pytest.mark.parametrize("source", ["relevancy", "maskclip", "gem"])
def test_maps_of_clip_alone_span_their_range(files, tmp_path, source):
    assert files.extract(tmp_path / "maps.h5", "--source", source) == 0
    with HeatmapFile(tmp_path / "maps.h5") as file:
        maps = file.read(np.arange(3))
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert maps.max(axis=(1, 2)).max() > 0.5


@pytest.mark.parametrize(
    ("stage", "output"),
    [("train_clip", "clip"), ("train_g", "g"), ("train_h", "h"), ("refine", "refined")],
)
def test_the_same_seed_gives_the_same_bytes(files, tmp_path, stage, output):
    more = ["--augmentation", "flip_maps"] if stage == "train_h" else []
    path = tmp_path / "again.safetensors"
    assert getattr(files, stage)(path, *more) == 0
    assert path.read_bytes() == getattr(files, output).read_bytes()


# Six steps of g^h, and two of h between them.
ROUNDS = command(rounds=2, detector_steps=2)
AGREEMENT = command(select="agreement", select_every=1, select_fraction=0.3, select_min_agreement=0)


@pytest.mark.parametrize(
    ("stage", "step", "more"),
    [
        ("train_g", 2, []),
        ("refine", 2, []),
        ("refine", 4, [*ROUNDS, *AGREEMENT, "--select-max-images", "2"]),  # amid h's turn
    ],
)
def test_a_resumed_run_ends_with_the_same_bytes(files, tmp_path, monkeypatch, stage, step, more):
    path, save = tmp_path / "again.safetensors", Checkpoint.save_when_due
    whole, train = tmp_path / "whole.safetensors", getattr(files, stage)

    def save_and_die(self, taken, *state):
        save(self, taken, *state)
        if taken == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save_when_due", save_and_die)
        assert train(path, *more, "--checkpoint-seconds", "0") == 130
    assert not path.exists()
    assert train(path, *more) == train(whole, *more) == 0
    assert path.read_bytes() == whole.read_bytes()


def test_g_h_and_h_take_turns(files, tmp_path, capsys):
    """h's steps are between the rounds, and what it learns there matters to the second."""
    names = {"one": ["--steps", "6"], "still": ["--rounds", "2"], "turns": ROUNDS}
    steps = {"one": 6, "still": 6, "turns": 8}
    tensors = {}
    for name, more in names.items():
        assert files.refine(tmp_path / f"{name}.safetensors", *more) == 0
        assert f"refinement steps of g^h: {steps[name]} of {steps[name]}" in capsys.readouterr().err
        tensors[name] = load_file(tmp_path / f"{name}.safetensors")
    for name, tensor in tensors["one"].items():
        assert torch.equal(tensor, tensors["still"][name])
    assert any(not torch.equal(t, tensors["turns"][name]) for name, t in tensors["one"].items())
    assert set(tensors["turns"]) == set(tensors["one"])  # g alone, without h
    recorded = read_provenance(tmp_path / "turns.safetensors")["parameters"]
    assert recorded["alternation"] == {"rounds": 2, "detector_steps": 2}
    # What was made without rounds keeps its bytes.
    assert not {"alternation", "selection"} & set(read_provenance(files.refined)["parameters"])


def test_the_state_of_best_agreement_is_kept(files, tmp_path, capsys):
    """g and g^h as they are after any number of steps, by the log."""
    path = tmp_path / "g.safetensors"
    assert files.refine(path, *AGREEMENT, "--steps", "6") == 0
    found = re.findall(r"agreement with h after (\d+) steps: (\S+)", capsys.readouterr().err)
    seen = {int(step): float(score) for step, score in found}
    assert list(seen) == list(range(7))
    kept = read_provenance(path)["selected"]
    assert kept["agreement_of_g"] == pytest.approx(seen[0], abs=1e-4)
    if kept["step"]:
        assert kept["step"] == max(range(1, 7), key=seen.get)
        short = tmp_path / "short.safetensors"
        assert files.refine(short, *AGREEMENT, "--steps", str(kept["step"])) == 0
        first, second = load_file(path), load_file(short)
        assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_rounds_end_where_they_lead_no_nearer(files, tmp_path, capsys):
    """g^h that does not move is as near to h as g, and no second round brings it nearer."""
    still = [*AGREEMENT, *command(rounds=4, steps=2, detector_steps=1, lr=0)]
    assert files.refine(tmp_path / "g.safetensors", *still) == 0
    told = capsys.readouterr().err
    assert "it is the last round" in told
    assert "refinement steps of g^h: 4 of 11" in told
    assert "refinement steps of g^h: 5 of 11" not in told
    assert re.findall(r"agreement with h after (\d+)", told) == ["0", "1", "2", "4", "5"]
    before, after = load_file(files.g), load_file(tmp_path / "g.safetensors")
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_g_is_kept_where_h_is_not_to_be_trusted(files, tmp_path, capsys):
    doubted = [*AGREEMENT[:-1], "0.999"]
    assert files.refine(tmp_path / "g.safetensors", *doubted) == 0
    told = capsys.readouterr().err
    assert "g is kept" in told
    assert "refinement steps" not in told
    before, after = load_file(files.g), load_file(tmp_path / "g.safetensors")
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_refinement_moves_the_decoder_alone(files):
    before, after = load_file(files.g), load_file(files.refined)
    assert set(before) == set(after)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("D.") for name in moved)
    assert not any("running" in name for name in moved)  # batch norms keep their statistics
    assert files.extract(files.folder / "refined.h5", "--weights", str(files.refined)) == 0


def test_statistics_of_batches_are_gathered_as_torch_does(files, tmp_path):
    """After one step without a move: what batch norms in training mode keep of the maps that g
    makes of the same images, which are mirrored where the generator says so."""
    still = ("--steps", "1", "--lr", "0", "--norm-statistics", "batch", "--mirror")
    assert files.refine(tmp_path / "g.safetensors", *still) == 0
    g, found = load_grounder(files.g), load_file(tmp_path / "g.safetensors")
    dataset, clip = load_index(files.index), load_clip(str(files.clip))
    choices, _ = taught_texts(files.boxes, dataset, TargetRules(), 3)
    generator, chosen = step_generator(0, 0), batch_indices(len(choices), 4, 0, 0)
    texts = [draw_text(draw_entry(choices[i], generator), generator) for i in chosen.tolist()]
    images = to_unit(SquareImages(dataset, 64).batch([choices[i][0].position for i in chosen]))
    turned = torch.rand(4, generator=generator) < 0.5
    images = torch.stack([i.flip(-1) if t else i for i, t in zip(images, turned, strict=True)])
    g.train()(images, clip.encode_texts(texts))
    for name, tensor in g.state_dict().items():
        if "running" in name and name.startswith("D.") and "up1.BN2" not in name:
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)
            assert not torch.equal(found[name], load_file(files.g)[name])


def test_g_itself_stays_while_g_h_learns_by_statistics_of_batches(files, tmp_path, monkeypatch):
    """Masks and h's boxes are of g's maps, which are those of the file to the last step."""
    drawing, drawn = refinement.draw_maps, []

    def draw(grounder, batch):
        drawn.append((grounder.training, grounder))
        return drawing(grounder, batch)

    monkeypatch.setattr(refinement, "draw_maps", draw)
    batches = ("--steps", "2", "--targets", "h", "--norm-statistics", "batch")
    assert files.refine(tmp_path / "g.safetensors", *batches) == 0
    assert [training for training, _ in drawn] == [False, False]
    kept = load_grounder(files.g).state_dict()
    for name, tensor in drawn[-1][1].state_dict().items():
        assert torch.equal(tensor, kept[name]), name


def test_stored_boxes_are_mirrored_with_their_images():
    boxes = torch.tensor([[[0.2, 0.3, 0.1, 0.2]], [[0.2, 0.3, 0.1, 0.2]]])
    batch = GroundingBatch(torch.zeros(2), None, torch.zeros(2), torch.tensor([True, False]))
    assert batch.turn(boxes)[:, 0, 0].tolist() == pytest.approx([0.8, 0.2])
    assert torch.equal(batch.turn(boxes)[..., 1:], boxes[..., 1:])
    assert batch._replace(mirrored=None).turn(boxes) is boxes


@pytest.mark.parametrize("targets", ["current", "h"])
def test_other_targets_teach_something_else(files, tmp_path, targets):
    assert files.refine(tmp_path / "other.safetensors", "--targets", targets) == 0
    other, given = load_file(tmp_path / "other.safetensors"), load_file(files.refined)
    assert any(not torch.equal(other[name], given[name]) for name in other)


@pytest.mark.parametrize("source", ["h", "g"])
def test_masks_teach_something_else(files, tmp_path, source):
    weights = ["--mask-weight", "2", "--detector-weight", "0", "--inside-share", "0.3", "--flips"]
    masks = [*weights, "--mask-source", source]
    assert files.refine(tmp_path / f"{source}.safetensors", *masks) == 0
    other, given = load_file(tmp_path / f"{source}.safetensors"), load_file(files.refined)
    assert any(not torch.equal(other[name], given[name]) for name in other)
    assert all(bool(tensor.isfinite().all()) for tensor in other.values())


def test_current_boxes_alone_are_refused(files, tmp_path, refused):
    nothing = [f"--{name}-weight=0" for name in ("size", "relevancy", "background", "foreground")]
    common = command(
        index=files.index, clip=files.clip, weights=files.g, detector=files.h, boxes=files.boxes
    )
    output = tmp_path / "r.safetensors"
    options = [*common, *REFINEMENT, *nothing]
    message = refused(refine_grounder, *options, "--targets", "current", output=output)
    assert "--targets current with the weights of all other terms at 0" in message
    message = refused(refine_grounder, *options, "--detector-weight", "0", output=output)
    assert "nothing to learn" in message


def test_boxes_of_h_are_of_phrases(files, tmp_path):
    options = command(
        detector=files.h, inputs=files.maps, index=files.index, output=tmp_path / "boxes.json"
    )
    assert predict_boxes.main([*options, *ONE_THREAD]) == 0
    records = json.loads((tmp_path / "boxes.json").read_text())
    with HeatmapFile(files.maps) as file:
        rows = set(zip(file.image_id.tolist(), file.phrase_id.tolist(), strict=True))
    assert {(r["image_id"], r["phrase_id"]) for r in records} == rows
    assert all(r["bbox"][0] >= 0 and r["bbox"][0] + r["bbox"][2] <= 64.001 for r in records)


def test_maps_of_clip_alone_serve_as_those_of_g(files, tmp_path):
    """Through the stages that read g's: pseudo-boxes, h, its boxes, and the list of what is where.

    Nothing is trained but h.
    """
    maps, boxes = tmp_path / "maps.h5", tmp_path / "boxes.json"
    assert files.extract(maps, "--source", "gem", "--texts", "training") == 0
    found = command(heatmaps=maps, index=files.index, mode="pseudo", output=boxes)
    assert heatmap_boxes.main(found) == 0
    h, asked = tmp_path / "h.safetensors", command(index=files.index, inputs=maps)
    taught = [*asked, *command(boxes=boxes, output=h), *DETECTOR, *ONE_THREAD]
    assert train_detector.main(taught) == 0
    own = [*asked, *command(detector=h, output=tmp_path / "h.json"), *ONE_THREAD]
    assert predict_boxes.main(own) == 0
    with HeatmapFile(maps) as file:
        rows = set(zip(file.image_id.tolist(), file.phrase_id.tolist(), strict=True))
    records = json.loads((tmp_path / "h.json").read_text())
    assert {(r["image_id"], r["phrase_id"]) for r in records} == rows
    listed = command(index=files.index, heatmaps=maps, boxes=boxes, output=tmp_path / "g.json")
    assert export_results.main(listed) == 0
    assert len(json.loads((tmp_path / "g.json").read_text())) > 0


def test_mistakes_are_told_in_one_line(files, tmp_path, refused):
    output = tmp_path / "out.h5"
    common = command(index=files.index, clip=files.clip)
    assert "--source g needs --weights FILE" in refused(extract_heatmaps, *common, output=output)
    message = refused(extract_heatmaps, *common, "--weights", files.h, output=output)
    assert "holds no g" in message
    output = tmp_path / "h.safetensors"
    inputs = command(index=files.index, inputs=files.maps, boxes=files.boxes)
    message = refused(train_detector, *inputs, *DETECTOR, "--cell", "5", output=output)
    assert "--cell 5: does not divide maps of (32, 32)" in message
    crop = ["--augmentation", "crop_flip", "--weights", "random"]
    assert "runs f, not g" in refused(train_detector, *inputs, *DETECTOR, *crop, output=output)
