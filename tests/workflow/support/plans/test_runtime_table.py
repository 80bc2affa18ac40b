"""Which jobs Table 7 counts."""

from __future__ import annotations

from small_configuration import small_configuration
from support.plans.runtime_table import RULES, Timed, files, job_options, jobs

PATTERNS = {
    "extract_features": "{dataset}/{backbone}/features/{shard}",
    "pseudo_boxes": "{dataset}/{backbone}/{method}/boxes",
    "pseudo_boxes_of_shard": "{dataset}/{backbone}/{method}/shards/{shard}",
    "cache_detector_inputs": "{dataset}/{base}/detector_inputs/{inputs}",
    "cache_states": "{dataset}/{base}/states/{left}.{shard}",
    "train_surrogate": "{dataset}/{base}/{method}/{variant}/seed{seed}/s",
    "train_detector": "{dataset}/{base}/{method}/{variant}/seed{seed}/h",
    "refine_backbone": "{dataset}/{base}/{method}/{variant}/seed{seed}/f_h",
}
TIMED = {
    rule: Timed(
        f"made/{PATTERNS[rule]}" + (".json" if "boxes" in rule else ""),
        f"timed/{PATTERNS[rule]}.tsv",
    )
    for rule in RULES
}


def test_seeds_share_f_and_a_variant_the_h_that_is_alike() -> None:
    config = small_configuration()
    config["tables"]["table4"]["variant"] = "no_reg"
    found = [(job["stage"], job["seed"], job["artifact"]) for job in jobs(config, TIMED)]
    assert found == [
        ("extract_features", "", "made/a/vit/features/{shard}"),
        ("pseudo_boxes", "", "made/a/vit/lost/shards/{shard}.json"),
        ("cache_detector_inputs", "", "made/a/vit/detector_inputs/default"),
        ("train_detector", 0, "made/a/vit/lost/default/seed0/h"),
        ("refine_backbone", 0, "made/a/vit/lost/no_reg/seed0/f_h"),
        ("extract_features", 0, "made/a/vit+a.lost.no_reg.0/features/{shard}"),
        ("pseudo_boxes", 0, "made/a/vit+a.lost.no_reg.0/lost/shards/{shard}.json"),
        ("train_detector", 1, "made/a/vit/lost/default/seed1/h"),
        ("refine_backbone", 1, "made/a/vit/lost/no_reg/seed1/f_h"),
        ("extract_features", 1, "made/a/vit+a.lost.no_reg.1/features/{shard}"),
        ("pseudo_boxes", 1, "made/a/vit+a.lost.no_reg.1/lost/shards/{shard}.json"),
    ]


def test_states_and_a_surrogate_count_where_there_are_any() -> None:
    config = small_configuration()
    config["seeds"] = [0]
    config["backbones"]["vit"]["cache_states"] = True
    config["discovery"]["refinement"] |= {"surrogate": True, "trainable_blocks": 2}
    found = [(job["network"], job["stage"], job["artifact"]) for job in jobs(config, TIMED)]
    assert found[0] == ("h", "cache_states", "made/a/vit/states/2.{shard}")
    assert ("h", "train_surrogate", "made/a/vit/lost/default/seed0/s") in found


def test_files_of_all_shards_and_what_lies_beside_boxes() -> None:
    config = small_configuration()
    config["seeds"] = [0]
    found = files(config, TIMED)
    assert found["artifacts"][:4] == [
        "made/a/vit/features/0",
        "made/a/vit/features/1",
        "made/a/vit/lost/shards/0.json",
        "made/a/vit/lost/shards/1.json",
    ]
    assert found["meta"][:2] == [
        "made/a/vit/lost/shards/0.meta.json",
        "made/a/vit/lost/shards/1.meta.json",
    ]
    assert job_options(config, TIMED).startswith(
        "--job network=h 'task=object discovery, LOST' dataset=A stage=extract_features"
        " 'artifact=made/a/vit/features/{shard}' 'benchmark=timed/a/vit/features/{shard}.tsv'"
        " shards=2 seed= --job"
    )


def test_a_dataset_in_one_part_has_no_shards_of_boxes() -> None:
    config = small_configuration()
    config["tables"]["table4"]["datasets"] = ["b"]
    boxes = [job["artifact"] for job in jobs(config, TIMED) if job["stage"] == "pseudo_boxes"]
    assert boxes[0] == "made/b/vit/lost/boxes.json"
    assert all(name.endswith("/lost/boxes.json") for name in boxes)
