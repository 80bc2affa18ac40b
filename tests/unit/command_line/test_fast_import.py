"""What a stage imports before it works: none pays for libraries that it does not use.

Each stage is imported in a process of its own, up to its first `--help`.
"""

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bbr.command_line import fast_import

STAGES = Path(__file__).parents[3] / "stages"
LARGE = (
    "torch",
    "torchvision",
    "timm",
    "torch._dynamo",
    "lightning_fabric",
    "pandas",
    "matplotlib",
    "open_clip",
    "tqdm",
)

# By stage, what it may import; what counts and prints, and reads and writes boxes, nothing.
COUNTING = [
    "evaluate",
    "compare_metrics",
    "merge_shards",
    "tabulate_metrics",
    "tabulate_runtime",
    "propose_regions",
    "render_scenes",
    "index_dataset",
    "fetch_dataset",
    "check_data",
]
# torch, which has tqdm with it.
RUNNING = [
    "pseudo_boxes",
    "discover_objects",
    "predict_boxes",
    "extract_features",
    "cache_detector_inputs",
    "cache_states",
]

SCRIPT = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
from bbr.command_line.fast_import import loaded
loaded()
print(json.dumps([name for name in sys.argv[2:] if name in sys.modules]))
"""


def imported(stage):
    """Which of the large libraries the stage has imported before it reads its options."""
    run = [sys.executable, "-c", SCRIPT, stage, *LARGE]
    done = subprocess.run(run, cwd=STAGES, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("stage", COUNTING)
def test_stages_that_count_import_no_torch(stage):
    assert imported(stage) == set()


@pytest.mark.parametrize("stage", RUNNING)
def test_stages_that_run_networks_import_no_training(stage):
    assert imported(stage) - {"tqdm"} == {"torch"}


def test_training_of_h_on_cached_maps_imports_no_architecture_of_f():
    assert not imported("train_detector") & {"torchvision", "timm", "matplotlib", "pandas"}


def test_every_stage_begins_with_the_startup():
    for script in STAGES.glob("*.py"):
        lines = script.read_text().splitlines()
        imports = [line for line in lines if line.startswith(("import ", "from "))]
        first = imports.index("import bbr.command_line.fast_import")
        names = [line.split()[1].split(".")[0] for line in imports[:first]]
        assert set(names) <= set(sys.stdlib_module_names), script


def test_collection_is_as_usual_once_loaded():
    usual = fast_import._USUAL
    fast_import.loaded()
    with fast_import.large_imports():
        assert gc.get_threshold() > usual
    assert gc.get_threshold() == usual
    frozen = gc.get_freeze_count()
    with fast_import.large_imports():
        import json  # noqa: F401 - there already
    assert gc.get_freeze_count() == frozen
