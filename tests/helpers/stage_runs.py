"""Every stage on small data: its command line, which names the outputs of others, and its runs."""

from __future__ import annotations

import json
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from string import Formatter
from zipfile import ZipFile

import torch
from grounding_runs import GROUNDING, SCRIPTS
from stage_process import start_stage
from tiny_vit import TINY_VIT, write_tiny_vit

from bbr.backbones.masked import MaskHead, SegmenterSpec

VIT = (
    "--architecture",
    "vit_tiny_patch16_224",
    "--architecture-args",
    json.dumps(TINY_VIT, separators=(",", ":")),
)
# As if the paper reported `scenes07`.
PUBLISHED_FIGURES = "method,cad,dataset,metric,value\nLOST,no,scenes07,corloc,50.0\n"
TRAINING = ("--image-size", "64", "--checkpoint-seconds", "0", "--batch-size", "4")
# For each stage its main output and its options, with the names of earlier outputs in braces.
STAGES = {
    "render_scenes": ("index.json", "--preset scenes07 --count 40 --size 64 --seed 1"),
    "index_dataset": ("index.json", "--format folder --source {render_scenes.parent}/images"),
    "pool_indexes": ("index.json", "--indexes {render_scenes}"),
    "extract_features": (
        "features.h5",
        "--index {render_scenes} --weights {f} --normalization center",
    ),
    "cache_states": (
        "states.h5",
        "--index {render_scenes} --weights {f} --normalization center --last-blocks 1",
    ),
    "extract_from_states": (
        "features.h5",
        "--index {render_scenes} --weights {f} --normalization center --states {cache_states}",
    ),
    "pseudo_boxes": ("boxes.json", "--method lost --features {extract_features} --batch-size 1"),
    "merge_boxes": ("boxes.json", "--shards {pseudo_boxes}"),
    "cache_detector_inputs": (
        "inputs.h5",
        "--index {render_scenes} --weights {f} --image-size 64 --batch-size 2",
    ),
    "train_detector": (
        "h.safetensors",
        "--index {render_scenes} --inputs {cache_detector_inputs} --boxes {merge_boxes}"
        " --network attention --layout spatial --width 8 --batch-size 4 --steps 40"
        " --checkpoint-seconds 0",
    ),
    "predict_boxes": (
        "boxes.json",
        "--detector {train_detector} --inputs {cache_detector_inputs} --index {render_scenes}"
        " --batch-size 1",
    ),
    "refine_backbone": (
        "f.safetensors",
        "--index {render_scenes} --weights {f} --detector {train_detector}"
        " --boxes {merge_boxes} {training} --steps 20 --lr 1e-4",
    ),
    "pretrain_inpainter": (
        "inpainter.safetensors",
        "--index {render_scenes} --image-size 32 --patch-size 8 --dim 16 --depth 1 --heads 2"
        " --decoder-dim 16 --decoder-depth 1 --decoder-heads 2 --batch-size 4 --steps 20"
        " --checkpoint-seconds 0",
    ),
    "train_segmenter": (
        "segmenter.safetensors",
        "--index {render_scenes} --weights {f} --inpainter {pretrain_inpainter}"
        " {training} --min-width 8 --augmentation flip_maps --discriminator-weights random"
        " --discriminator-architecture resnet18 --discriminator-size 32"
        " --discriminator-width 4 --steps 10",
    ),
    "train_cad": (
        "cad.safetensors",
        "--index {render_scenes} --boxes {merge_boxes} --network tf_efficientnet_lite0"
        " --map-level 2 --roi-size 4 --anchor-sizes 16 32 --train-sizes 64 --roi-batch 4"
        " --train-proposals 50 8 --batch-size 4 --steps 12 --checkpoint-seconds 0",
    ),
    "predict_cad": (
        "boxes.json",
        "--cad {train_cad} --index {render_scenes} --test-size 64 --test-proposals 50 8"
        " --batch-size 1",
    ),
    "evaluate": (
        "metrics.json",
        "--task corloc --index {render_scenes} --boxes {merge_boxes}"
        " --label dataset=scenes07 method=LOST output=method cad=no seed=0 images=train",
    ),
    "compare_metrics": ("comparison.json", "--baseline {evaluate} --candidate {evaluate}"),
    "tabulate_metrics": ("table.csv", "--table 4 --metrics {evaluate}"),
    "compare_published": ("compared.csv", "--table 4 {figures} {evaluate}"),
    "select_boxes": (
        "boxes.json",
        "--index {render_scenes} --boxes {merge_boxes} --min-score 0.2",
    ),
    "cluster_boxes": (
        "clusters.json",
        "--index {render_scenes} --boxes {merge_boxes} --features {extract_features} --clusters 3"
        " --count 4 --sheets {folder}/sheets",
    ),
    "draw_box_page": (
        "page.html",
        "--index {render_scenes} --boxes {merge_boxes} --thumbnails {folder}/thumbnails",
    ),
    "draw_risk_coverage": ("risk.png", "--metrics {evaluate} --boxes {merge_boxes}"),
    "sweep_facets": (
        "swept.h5",
        "--index {render_scenes} --weights {f} --label dataset=d backbone=b --methods"
        ' {{"center":{{}},"lost":{{"k_patches":[4]}}}}',
    ),
    "tabulate_facets": ("facets.csv", "--index {render_scenes} --boxes {sweep_facets}"),
    "draw_boxes": ("sheet.png", "--index {render_scenes} --boxes {merge_boxes} --count 6"),
    "propose_regions": ("boxes.json", "--method edge_boxes --index {render_scenes}"),
    "discover_objects": (
        "boxes.json",
        "--method lod --features {extract_features} --maxima 3 --levels 2 --neighbors 3",
    ),
    "segment_boxes": (
        "boxes.json",
        "--index {render_scenes} --boxes {merge_boxes} --weights {sam}",
    ),
    "draw_maps": (
        "maps.png",
        "--index {render_scenes} --count 2 --panel title=LOST network=f method=lost"
        " features={extract_features} boxes={merge_boxes} k_patches=4",
    ),
    "import_segmenter": ("f.safetensors", "--checkpoint {published} --weights random {vit}"),
    "tabulate_runtime": (
        "table.csv",
        "--job network=h task=LOST dataset=scenes07 stage=pseudo_boxes artifact={pseudo_boxes}"
        " benchmark={benchmark}",
    ),
    "import_weights": (
        "f.safetensors",
        "--kind segmenter --file {published} --needs {f}",
    ),
    "fetch_weights": (
        "f.safetensors",
        "--registry {registry} --name move --downloads {data} --needs {f}",
    ),
    "fetch_dataset": ("receipt.json", "--sources {sources} --name scenes --folder {folder}"),
} | GROUNDING


class Runs:
    """Unbroken runs, made as they are needed; each is the input of others and the standard."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fixed = {"vit": " ".join(VIT), "training": " ".join(TRAINING)}
        self.seconds: dict[str, float] = {}
        self.fixed["figures"] = str(root / "figures.csv")
        (root / "figures.csv").write_text(PUBLISHED_FIGURES)
        self.fixed["benchmark"] = str(root / "benchmark.tsv")
        (root / "benchmark.tsv").write_text("s\tcpu_time\n360\t1\n")
        self.fixed |= _write_data(root / "data")

    def __getitem__(self, name: str) -> str | Path:
        return self.fixed[name] if name in self.fixed else self.output(name)

    def arguments(
        self, name: str, folder: Path, instead: dict[str, Path] | None = None
    ) -> list[str]:
        """The command line of a stage with its output in a folder, and other files as inputs."""
        output, options = STAGES[name]
        values = {key: self[key] for key in inputs_of(name)} | (instead or {})
        values["folder"] = folder
        return [
            *options.format_map(values).split(),
            "--threads",
            "1",
            "--output",
            f"{folder / output}",
        ]

    def output(self, name: str) -> Path:
        """The main output of an unbroken run."""
        folder = self.root / name
        if name not in self.seconds:
            self.seconds[name] = self.finish(name, self.arguments(name, folder))
        return folder / STAGES[name][0]

    def finish(self, name: str, arguments: list[str]) -> float:
        """Run a stage to its end; the seconds that it worked."""
        log = self.root / f"{name}.log"
        process = self.start(name, arguments)
        started = time.perf_counter()
        process.join()
        assert process.exitcode == 0, log.read_text()
        return time.perf_counter() - started

    def start(self, name: str, arguments: list[str], log: Path | None = None) -> BaseProcess:
        """Start a stage, and do not wait for it; both its streams go to `log`."""
        return start_stage(script(name), arguments, log or self.root / f"{name}.log")

    def attempt(self, name: str, arguments: list[str]) -> tuple[int | None, str]:
        """Run a stage to whatever end; its exit status, and what it wrote to both streams."""
        log = self.root / f"{name}.attempt.log"
        log.unlink(missing_ok=True)
        process = self.start(name, arguments, log)
        process.join()
        return process.exitcode, log.read_text(encoding="utf-8", errors="replace")

    def kill(self, name: str, arguments: list[str], after: float) -> bool:
        """Kill a stage this many seconds after it began to work; False if it was done before."""
        process = self.start(name, arguments)
        process.join(after)
        process.kill()
        process.join()
        return process.exitcode == -signal.SIGKILL


def script(name: str) -> str:
    """The stage that one of `STAGES` runs."""
    return SCRIPTS.get(name, name)


def inputs_of(name: str) -> list[str]:
    """What the command line of one of `STAGES` names: other stages, and what `Runs` has fixed."""
    fields = (field for _, field, _, _ in Formatter().parse(STAGES[name][1]) if field)
    names = dict.fromkeys(field.partition(".")[0] for field in fields)
    return [name for name in names if name != "folder"]  # that of the output


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _write_data(folder: Path) -> dict[str, str]:
    """What others publish, as it lies there once fetched, and the tables that tell of it."""
    folder.mkdir()
    (folder / "names.txt").write_text("1.jpg\n")
    with ZipFile(folder / "images.zip", "w") as archive:
        archive.writestr("images/1.jpg", bytes(200_000))
    weights = {"kind": "segmenter", "needs": "f", "sources": [{"file": "move.pth"}]}
    files = [
        {"url": (folder / "images.zip").as_uri(), "take": {"images": "scenes/images"}},
        {"url": (folder / "names.txt").as_uri(), "place": "scenes/names.txt", "lines": 1},
    ]
    tables = {"registry": {"move": weights}, "sources": {"scenes": {"files": files}}}
    written = {"data": str(folder), "published": _write_published(folder / "move.pth")}
    written["f"] = str(write_tiny_vit(folder / "f.safetensors"))
    written |= _write_networks(folder)
    for name, table in tables.items():
        written[name] = str(folder / f"{name}.yaml")
        Path(written[name]).write_text(json.dumps(table))
    return written


def _write_networks(folder: Path) -> dict[str, str]:
    """Folders of transformers' networks, which take seconds to import."""
    from upper_bound_data import write_owlv2, write_sam

    writers = {"owlv2": write_owlv2, "sam": write_sam}
    return {name: str(write(folder / name)) for name, write in writers.items()}


def _write_published(path: Path) -> str:
    """A MOVE segmenter's weights as they are published, for `TINY_VIT`."""
    torch.manual_seed(0)
    head = MaskHead(TINY_VIT["embed_dim"], SegmenterSpec(2, 8)).state_dict()
    tensors = {f"segmenter.segmenter_head.{name}": value for name, value in head.items()}
    for kind in ("weight", "bias"):
        tensors[f"segmenter.feature_extractor.norm.{kind}"] = torch.ones(TINY_VIT["embed_dim"])
    torch.save({"model": tensors}, path)
    return str(path)
