"""What indices are made from, and what jobs that read a data set open."""

from __future__ import annotations

import os

from small_configuration import small_configuration
from support.plans import datasets

CONFIG = small_configuration()
HOME = os.path.expanduser("~")


def test_images_are_named_unless_they_are_fetched() -> None:
    assert datasets.files(CONFIG, "a") == {
        "index": "results/a/index.json",
        "images": "results/a/images",
    }
    assert datasets.files(CONFIG, "b") == {"index": "results/b/index.json", "images": f"{HOME}/b"}
    assert datasets.files(CONFIG, "c") == {"index": "results/c/index.json"}
    assert datasets.files_of_all(CONFIG, ["c", "a"]) == {
        "index": ["results/c/index.json", "results/a/index.json"],
        "images": ["results/a/images"],
    }
    assert (datasets.images(CONFIG, "a"), datasets.images(CONFIG, "c")) == (
        ["results/a/images"],
        [],
    )


def test_a_pool_has_the_indexes_and_images_of_its_parts() -> None:
    pools = {"all": {"format": "pool", "pool": ["a", "c"], "shards": 1}}
    config = CONFIG | {"datasets": CONFIG["datasets"] | pools}
    assert datasets.indexes_of_pool(config, "all") == [
        "results/a/index.json",
        "results/c/index.json",
    ]
    assert datasets.files(config, "all") == {
        "index": "results/all/index.json",
        "images": ["results/a/images"],
    }
    assert datasets.images(config, "all") == ["results/a/images"]


def test_the_date_of_a_folder_of_images_says_nothing() -> None:
    assert datasets.files(CONFIG, "a")["images"].flags == {"ancient": True}


def test_an_index_is_made_from_the_data_or_from_receipts() -> None:
    assert datasets.source_files(CONFIG, "b") == {"source": f"{HOME}/b"}  # which is missing
    assert datasets.own_files(CONFIG, "b") == f"--source {HOME}/b"
    assert datasets.own_files(CONFIG, "c") == ""
    assert datasets.source_files(CONFIG, "c") == {"receipts": ["data/receipts/c_images.json"]}
    assert datasets.all_receipts(CONFIG) == ["data/receipts/c_images.json"]
    assert datasets.index_options(CONFIG, "b") == "--format voc --image-set test"
    assert datasets.index_options(CONFIG, "c") == (
        "--format coco --source data/c --annotations data/c.json"
    )
    assert datasets.scene_options(CONFIG, "a") == "--preset p --count 4"
    masked = {"datasets": {"a": {**CONFIG["datasets"]["a"], "masks": True}}}
    for config in (CONFIG | masked, CONFIG | {"masks": True}):
        assert datasets.scene_options(config, "a") == "--preset p --count 4 --masks"
    assert datasets.index_memory(CONFIG, "b") < datasets.index_memory(CONFIG, "c")


def test_shards_labels_and_patterns() -> None:
    assert datasets.of_shards(CONFIG, "a", "x/{shard}.h5") == ["x/0.h5", "x/1.h5"]
    assert datasets.shard_of(CONFIG, "a", "1") == "1/2"
    assert (datasets.label(CONFIG, "a"), datasets.label(CONFIG, "b")) == ("A", "b")
    assert (datasets.of_format(CONFIG, "voc", "coco"), datasets.in_shards(CONFIG)) == ("b|c", "a")
    assert list(datasets.expected_counts(CONFIG)) == ["c"]
