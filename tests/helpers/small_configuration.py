"""A configuration small enough to work out by hand which files it asks for."""

from __future__ import annotations

from typing import Any


def variant(**changes: dict[str, Any]) -> dict[str, Any]:
    """A variant as the checked configuration has it: every section is there."""
    return {"loss_weights": {}, "detector": {}, "refinement": {}, **changes}


def small_configuration() -> dict[str, Any]:
    """Two data sets, two networks, two heuristics, four variants; a new one each time."""
    return {
        "seeds": [0, 1],
        "max_boxes": 3,
        "min_score": 0,
        "masks": False,
        "sharpen_masks": False,
        "memory_mb": None,
        "images": None,
        "clusters": None,
        "cluster_backbone": "cnn",
        "refine": False,
        "refine_cad": False,
        "phrases": None,
        "backbone": "vit",
        "method": "lost",
        "local_weights": {},
        "datasets": {
            "a": {"format": "scenes", "preset": "p", "count": 4, "shards": 2, "label": "A"},
            "b": {"format": "voc", "source": "~/b", "image_set": "test", "shards": 1},
            "c": {
                "format": "coco",
                "source": "data/c",
                "annotations": "data/c.json",
                "shards": 1,
                "fetch": ["c_images"],
                "expected": {"images": 9},
            },
        },
        "backbones": {
            "vit": {"weights": "data/vit.safetensors", "heuristics": {"lost": {"k_patches": 25}}},
            "cnn": {"weights": "timm", "architecture": "resnet", "heuristics": {}},
            "wild": {"weights": "random", "seed": 5, "heuristics": {}},
            "move": {"weights": "timm", "checkpoint": "~/move.pt", "heuristics": {}},
            "pixels": {"weights": "none", "heuristics": {}},
        },
        "heuristics": {
            "lost": {"label": "LOST", "k_patches": 100},
            "cut": {
                "label": "Cut",
                "backbone": "cnn",
                "epsilon": 0.5,
                "detector_inputs": {"parts": "mask"},
                "detector": {"num_boxes": 1},
            },
            "box": {"label": "Box"},
            "edges": {"label": "Edges", "max_side": 9, "model": None},
            "ddt": {"label": "DDT", "second_layer": "vit"},
        },
        "discovery": {
            "brackets": "f",
            "detector_inputs": {"image_size": 64, "parts": "k", "dtype": "float16"},
            "loss_weights": {"l1_weight": 5},
            "detector": {"num_boxes": 10, "init": "data/trunk.safetensors"},
            "refinement": {
                "regularize": "keys",
                "devices": 1,
                "surrogate": False,
                "select": "agreement",
            },
            "variants": {
                "default": variant(),
                "no_reg": variant(refinement={"regularize": "none"}),
                "k1": variant(detector={"num_boxes": 1}),
                "k10": variant(detector={"num_boxes": 10}),
            },
        },
        "cad": {
            "training": {"init": "efficientnet_lite0", "steps": 30, "dataset_steps": {"a": 7}},
            "prediction": {"max_boxes": 9, "score_threshold": 0.01},
            "dataset_prediction": {"b": {"score_threshold": 0.05}},
        },
        "grounding": {
            "label": "small",
            "own": "b",
            "weights": {"a": "g.safetensors"},
            "clip": {"clip": "clip.safetensors", "clip_architecture": None},
            "heatmaps": {"size": 64},
            "classifier": {"label": "Lite0", "classifier": "x", "classifier_weights": None},
            "grounder": {"init": None, "steps": 3},
            "nms_boxes": "xyxy",
            "box_threshold": "minmax",
            "min_area": 0.05,
            "counted": "any_box",
            "brackets": "g",
            "undecided": "likeliest",
            "targets": "boxes",
            "loss_weights": {"l1_weight": 5},
            "detector": {"num_boxes": 10},
            "refinement": {"steps": 60},
            "variants": {
                "k1": variant(detector={"num_boxes": 1}),
                "default": variant(),
                "slow": variant(refinement={"steps": 90}),
            },
        },
        "captioning": {
            "captioner": "blip.safetensors",
            "beams": 3,
            "bare_captions": False,
            "map_size": None,
            "undescribed": "miss",
        },
        "supervised": {
            "grounding_dino": None,
            "owlv2": None,
            "sam3": None,
            "sam": None,
            "batch_size": 8,
        },
        "tables": {
            "table1": {
                "train": ["a"],
                "test": ["b"],
                "untrained": ["gae", "gem"],
                "variant": "default",
                "published": "p1.csv",
            },
            "table2": {
                "train": ["a"],
                "test": ["b"],
                "untrained": [],
                "variant": "default",
                "published": None,
            },
            "table3": {"train": ["a"], "test": ["b"], "untrained": [], "variant": "default"},
            "table4": {
                "backbone": "vit",
                "variant": "default",
                "datasets": ["a"],
                "methods": ["lost"],
                "baselines": {"edges": "pixels"},
                "baseline_cad": [],
                "controls": ["box"],
                "cad": True,
                "random_backbone": "wild",
            },
            "table5": {"train": "a", "test": ["b"], "ablations": {"slow": "lr"}},
            "table6": {
                "backbone": "vit",
                "datasets": ["a"],
                "methods": ["lost"],
                "ablations": {"no_reg": "w/o reg.", "k10": "k=10"},
            },
        },
        "compare_published": {"tables": ["table1", "table4", "table6"], "tolerance": 0.5},
        "study": {
            "backbone": "vit",
            "variants": ["default"],
            "methods": ["lost"],
            "datasets": ["a"],
            "held_out": {"a": "b"},
            "cad": [],
        },
        "figures": {
            "phrases": {
                "dataset": "b",
                "train": "a",
                "variant": "default",
                "count": 8,
                "columns": 2,
                "seed": 0,
            },
            "maps": {
                "one": {
                    "dataset": "a",
                    "variant": "default",
                    "methods": {"lost": "vit"},
                    "cad": "cad.{method}.{seed}",
                    "phrase": None,
                    "count": 1,
                    "seed": 0,
                    "image_ids": None,
                    "width": 3.3,
                },
            },
        },
        "resources": {
            "segmenter": {
                "dataset": "a",
                "backbone": "cnn",
                "inpainter": None,
                "steps": 2,
                "discriminator_weights": "data/d.safetensors",
            },
        },
    }
