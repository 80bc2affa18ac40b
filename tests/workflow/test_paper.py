"""The paper's tables can be planned from nothing, with its data and weights still to be fetched."""

from __future__ import annotations

import csv
import io
import json
import resource
import shlex
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import compare_published
import pytest
import yaml
from file_server import FileServer
from PIL import Image
from support.configuration import complete, default_files, prepare
from support.grounding_names import split_task
from support.plans import labels, metric_tables
from workflow_copies import ROOT, Repository

PAPER = "workflow/configs/paper.yaml"
RELEASE = "workflow/configs/release.yaml"
DISCOVERY = {
    "fetch_voc07": 1,
    "fetch_voc12": 1,
    "fetch_coco_train2014": 1,
    "fetch_coco_annotations": 1,
    "fetch_coco20k": 1,
    "index_dataset": 3,
}
GROUNDING_TESTS = {
    "fetch_visual_genome": 1,
    "fetch_visual_genome_splits": 1,
    "fetch_flickr30k": 1,
    "fetch_flickr30k_entities": 1,
    "fetch_referit": 1,
    "fetch_referit_splits": 1,
}
BOTH_TRAINED = {
    **GROUNDING_TESTS,
    "fetch_coco_train2014": 1,
    "fetch_coco_annotations": 1,
    "index_dataset": 5,
    # CLIP, VGG16 and two g, which are not trained here
    "fetch_one_weights": 4,
    "extract_training_heatmaps": 2,
    "train_phrase_detector": 2,
    "refine_grounder": 2,
}
JOBS: dict[str, dict[str, int]] = {
    "table4": {
        **DISCOVERY,
        # DINO ViT-S/16 and S/8, MOVE's segmenter on the latter, ResNet-50, structured edges
        "fetch_one_weights": 5,
        "train_detector": 9,
        "refine_backbone": 9,
        "train_cad": 21,  # LOD too
        "evaluate_boxes": 75,
    },
    "table6": {
        **DISCOVERY,
        "fetch_one_weights": 2,
        "train_detector": 12,
        "refine_backbone": 15,
    },
    "table7": {**DISCOVERY, "fetch_one_weights": 4, "train_detector": 9, "refine_backbone": 9},
    "table1": {**BOTH_TRAINED, "evaluate_phrases": 24},
    "table2": {**BOTH_TRAINED, "evaluate_phrases": 18},
    "table3": {
        **BOTH_TRAINED,
        "describe_regions": 3,
        "extract_caption_heatmaps": 12,
        "match_captions": 3,
        "evaluate_captions": 24,
    },
    "table5": {
        **GROUNDING_TESTS,
        "fetch_one_weights": 3,
        "train_phrase_detector": 2,
        "refine_grounder": 4,
        "evaluate_phrases": 24,
    },
}


TOGETHER = {
    **DISCOVERY,
    **GROUNDING_TESTS,
    "index_dataset": 8,
    "fetch_one_weights": 9,
    "train_detector": 18,
    "refine_backbone": 21,
    "train_cad": 21,
    "evaluate_boxes": 87,
    "train_phrase_detector": 3,
    "refine_grounder": 5,
    "evaluate_phrases": 60,
    "describe_regions": 3,
    "evaluate_captions": 24,
    "tabulate_metrics": 6,
    "tabulate_runtime": 1,
}


def cpu_seconds() -> float:
    """Of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# Those that every run of the tests plans; the rest are alike, and seconds each.
QUICK = ("table4", "table1")


@pytest.mark.parametrize(
    "table", [pytest.param(t, marks=() if t in QUICK else pytest.mark.slow) for t in JOBS]
)
def test_every_table(pristine: Repository, table: str) -> None:
    before = cpu_seconds()
    planned = pristine.planned(f"results/{table}.csv", "--configfile", PAPER)
    assert cpu_seconds() - before < 10
    assert {rule: planned.get(rule) for rule in JOBS[table]} == JOBS[table]
    assert "render_scenes" not in planned
    assert "train_grounder" not in planned


@pytest.mark.slow
@pytest.mark.parametrize("table", JOBS)
def test_every_table_as_the_released_code_has_it(pristine: Repository, table: str) -> None:
    before = cpu_seconds()
    planned = pristine.planned(f"results/{table}.csv", "--configfile", PAPER, RELEASE)
    assert cpu_seconds() - before < 10
    assert {rule: planned.get(rule) for rule in JOBS[table]} == JOBS[table]


@pytest.mark.parametrize("above", [(), (RELEASE,)], ids=["paper", "release"])
def test_all_tables_at_once(pristine: Repository, above: tuple[str, ...]) -> None:
    """In 7 CPU seconds; what two tables share is planned once."""
    tables = [f"results/{table}.csv" for table in JOBS]
    before = cpu_seconds()
    planned = pristine.planned(*tables, "--configfile", PAPER, *above)
    assert cpu_seconds() - before < 10
    assert {rule: planned.get(rule) for rule in TOGETHER} == TOGETHER
    assert "render_scenes" not in planned
    assert "train_grounder" not in planned


@pytest.mark.parametrize("above", [(), (RELEASE,)], ids=["paper", "release"])
def test_comparison_with_the_paper(pristine: Repository, above: tuple[str, ...]) -> None:
    """It needs what Tables 1 to 6 need, and not the tables."""
    target = "results/compare_published.csv"
    planned = pristine.planned(target, "--configfile", PAPER, *above)
    needed = {rule: n for rule, n in TOGETHER.items() if not rule.startswith("tabulate")}
    assert {rule: planned.get(rule) for rule in needed} == needed
    assert planned["compare_published"] == 1
    assert "tabulate_metrics" not in planned


def labelled(config: dict[str, Any], path: str) -> tuple[str, dict[str, Any]]:
    """The metric of a file of metrics and the labels that it gets, from its path."""
    _, dataset, kind, name, file = Path(path).with_suffix("").parts
    if kind == "grounding":
        return split_task(file)[0], labels.phrase_labels(config, dataset, name, file)
    if kind == "wwbl":
        return split_task(file)[0], labels.caption_labels(config, dataset, name, file)
    return "corloc", labels.box_labels(config, dataset, kind, name)


def test_how_many_of_the_paper_s_figures_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but those of others' methods, as the labels of what the configuration computes tell.

    In Table 4 Kim et al., Zhang et al. and rOSD with and without CAD, 12 cells; in Table 1 FCVC,
    VGLS, TD, SSS, MG and GbS, 28; in Tables 2 and 3 MG, 6 and 12.
    """
    config = paper()
    complete(config, default_files())
    prepare(config, ROOT / "workflow/schemas/config.schema.yaml")
    monkeypatch.chdir(tmp_path)  # published files then have absolute paths
    files = metric_tables.compared(config)
    for path in {path for _, *metrics in files.values() for path in metrics}:
        metric, named = labelled(config, path)
        content = {"task": metric, "labels": {k: str(v) for k, v in named.items()}, "score": 0}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        outcomes: dict[str, list[int]] = {"image_id": [], "correct": []}
        Path(path).write_text(json.dumps(content | {"outcomes": outcomes}))
    told = f"{metric_tables.compared_options(config, files)} "
    told += metric_tables.comparison_options(config)
    assert compare_published.main([*shlex.split(told), "--output", "compared.csv"]) == 0
    with open("compared.csv", encoding="utf-8") as lines:
        counts = Counter(row["table"] for row in csv.DictReader(lines))
    assert counts == {"1": 30, "2": 18, "3": 24, "4": 63, "5": 24, "6": 15}
    for number, reported in {"1": 58, "2": 24, "3": 36, "4": 75, "5": 24, "6": 15}.items():
        said = f"table {number}: {counts[number]} of {reported} published cells compared, 0 within"
        assert said in Path("compared.md").read_text("utf-8")


def test_scenes_are_not_computed_to_be_compared(repository: Repository) -> None:
    """Rows that are called as the paper's, of datasets that are not: one job, and a header."""
    target = "results/compare_published.csv"
    assert repository.planned(target) == {"compare_published": 1}
    repository.snakemake(target, "--cores", "1")
    assert len((repository.root / target).read_text("utf-8").splitlines()) == 1
    log = (repository.root / "results/logs/compare_published.log").read_text("utf-8")
    assert log.startswith("nothing is compared: ")


def test_metrics_on_disk_are_compared_by_the_rule(repository: Repository) -> None:
    """Invented ones of LOST, and its f^h of Tables 4 and 6, where the workflow looks for them."""
    trained = "voc07/dino_vits16+voc07.lost.{}.0/lost"
    brackets = "voc07/dino_vits16+voc07.lost.default.0/h.voc07.lost.default.0"
    f = {"dataset": "VOC07", "method": "LOST", "heuristic": "LOST"}
    refined = f | {"method": "Ours (LOST)", "variant": "default", "seed": "0"}
    ours = {
        "voc07/dino_vits16/lost": (61.7, f),
        trained.format("default"): (62.9, refined),
        brackets: (42.1, refined | {"output": "h"}),
        trained.format("no_reg"): (61.72, refined | {"variant": "no_reg"}),
    }
    for folder, (score, named) in ours.items():
        path = repository.root / "results" / folder / "metrics.json"
        path.parent.mkdir(parents=True)
        content = {"task": "corloc", "labels": named, "score": score}
        path.write_text(json.dumps(content | {"outcomes": {"image_id": [], "correct": []}}))
    few: dict[str, Any] = {"datasets": ["voc07"], "methods": ["lost"]}
    paper4 = paper()["tables"]["table4"]
    nothing = {"cad": False, "baseline_cad": [], "controls": [], "random_backbone": None}
    baselines = {"baselines": dict.fromkeys(paper4["baselines"])}
    ablations = {"ablations": dict.fromkeys(("k1", "k5", "k15"))}
    changes = {
        "tables": {"table4": few | nothing | baselines, "table6": few | ablations},
        "compare_published": {"tables": ["table4", "table6"], "tolerance": 0.25},
    }
    target = "results/compare_published.csv"
    alone = ("--allowed-rules", "compare_published", "--cores", "1")
    repository.snakemake(target, *alone, *repository.configured(changes, PAPER))
    with open(repository.root / target, encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["table"], row["row"], row["output"], row["within 0.25"]) for row in rows] == [
        ("4", "LOST", "method", "yes"),
        ("4", "Ours (LOST)", "method", "no"),
        ("4", "Ours (LOST)", "h", "yes"),
        ("6", "w/o reg.", "method", "yes"),
        ("6", "k=10", "method", "no"),
    ]


def test_all_weights_and_all_data(pristine: Repository) -> None:
    planned = pristine.planned("fetch_weights", "fetch_data", "--configfile", PAPER)
    # without BLIP and what the paper released, which no key names
    assert planned.pop("fetch_one_weights") == 9
    table = yaml.safe_load((ROOT / "workflow/sources/datasets.yaml").read_text(encoding="utf-8"))
    assert set(planned) - {"fetch_weights", "fetch_data"} == {f"fetch_{name}" for name in table}


def test_data_of_one_s_own_is_not_fetched(repository: Repository, tmp_path: Path) -> None:
    changes = {"datasets": {"voc07": {"source": str(tmp_path), "fetch": None}}}
    target = "results/voc07/index.json"
    planned = repository.planned(target, *repository.configured(changes, PAPER))
    assert planned == {"index_dataset": 1}


def test_a_published_file_at_hand(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "mine.pth").touch()
    changes = {"local_weights": {"dino_vits16": str(tmp_path / "mine.pth")}}
    output = repository.snakemake(
        "data/weights/dino_vits16.safetensors", *repository.configured(changes, PAPER), "-np"
    ).stdout
    assert f"--name dino_vits16 --downloads data/downloads --file {tmp_path}/mine.pth" in output


def voc_archive() -> bytes:
    """VOC2007 of one photograph, in a tar archive."""
    photograph = io.BytesIO()
    Image.new("RGB", (9, 9)).save(photograph, "JPEG")
    files = {
        "ImageSets/Main/trainval.txt": b"a\n",
        "Annotations/a.xml": b"<annotation><filename>a.jpg</filename></annotation>",
        "JPEGImages/a.jpg": photograph.getvalue(),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"VOCdevkit/VOC2007/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_from_a_server_to_the_index_in_one_command(repository: Repository, web: FileServer) -> None:
    target, configured = "results/voc07/index.json", ("--configfile", PAPER)
    path = repository.root / "workflow" / "sources" / "datasets.yaml"
    table: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    web.files["VOC.tar"] = voc_archive()
    table["voc07"]["files"][0] |= {"url": web.url("VOC.tar"), "md5": None}
    path.write_text(yaml.safe_dump(table), encoding="utf-8")
    done = repository.snakemake(target, "--cores", "1", *configured)
    assert "2 of 2 steps" in done.stdout
    index = json.loads((repository.root / target).read_text())
    assert [image["file_name"] for image in index["images"]] == ["a.jpg"]
    assert index["info"]["image_root"] == "../../data/VOCdevkit/VOC2007/JPEGImages"
    assert repository.planned(target, *configured) == {}
    counted = repository.snakemake("check_data", "--cores", "1", *configured).stdout
    assert "| voc07          |  1 (5,011) | 0 (15,662) |" in counted


def paper() -> dict[str, Any]:
    """The overlay alone."""
    return yaml.safe_load((ROOT / PAPER).read_text(encoding="utf-8"))


def test_what_the_paper_s_section_5_states() -> None:
    config = paper()
    for section in (config["discovery"]["detector"], config["grounding"]["detector"]):
        assert section["num_boxes"] == 10
        assert (section["steps"], section["batch_size"]) == (3_000, 36)
        assert (section["lr"], section["weight_decay"]) == (1e-5, 1e-4)
    for section, lr in (
        (config["discovery"]["refinement"], 5e-7),
        (config["grounding"]["refinement"], 1e-7),
    ):
        assert (section["steps"], section["batch_size"]) == (10_000, 36)
        assert (section["lr"], section["weight_decay"]) == (lr, 1e-4)
    assert (
        config["discovery"]["detector"]["network"],
        config["grounding"]["detector"]["network"],
    ) == (
        "resnet50",
        "vgg16",
    )
    lambdas = ("classification_weight", "l1_weight", "giou_weight")
    for losses in (config["discovery"]["loss_weights"], config["grounding"]["loss_weights"]):
        assert [losses[name] for name in lambdas] == [2, 5, 2]
    refined = config["grounding"]["refinement"]
    lambdas = ("size_weight", "relevancy_weight", "background_weight", "foreground_weight")
    assert [refined[name] for name in lambdas] == [1, 64, 2, 1]
    assert refined["union_probability"] == 0.5
    tokencut = config["heuristics"]["tokencut"]
    assert (tokencut["threshold"], tokencut["epsilon"]) == (0.2, 1e-5)


@pytest.mark.parametrize(
    ("table", "column", "key"),
    [
        ("table1", "train", "train"),
        ("table1", "test", "test"),
        ("table2", "train", "train"),
        ("table2", "test", "test"),
        ("table4", "dataset", "datasets"),
        ("table6", "dataset", "datasets"),
        ("table5", "test", "test"),
    ],
)
def test_columns_are_those_of_the_published_table(table: str, column: str, key: str) -> None:
    config = paper()
    with open(ROOT / "workflow" / "published" / f"{table}.csv", encoding="utf-8") as lines:
        published = {row[column] for row in csv.DictReader(lines)}
    named = config["tables"][table][key]
    assert {config["datasets"][name]["label"] for name in named} == published
