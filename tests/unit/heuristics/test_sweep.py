"""Heuristics with every choice of their options."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bbr.backbones.feature_maps import FeatureMaps
from bbr.errors import InputError
from bbr.heuristics.registry import heuristic_options, propose_boxes
from bbr.heuristics.sweep import SweepOptions, boxes_of_settings, parse_methods


def test_settings_are_all_combinations_in_order() -> None:
    sweep = SweepOptions({"tokencut": {"threshold": [0.1, 0.2], "epsilon": [1e-5]}, "found": {}})
    assert [(each.method, each.name) for each in sweep.settings()] == [
        ("tokencut", "threshold=0.1 epsilon=1e-05"),
        ("tokencut", "threshold=0.2 epsilon=1e-05"),
        ("found", "defaults"),
    ]


def test_boxes_are_those_of_each_setting_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = FeatureMaps(torch.randn(3, 30, 8, generator=generator), (5, 6), patch_size=16.0)
    settings = SweepOptions({"lost": {"k_patches": [3, 10]}, "center": {}}).settings()
    boxes = boxes_of_settings(maps, settings)
    assert boxes.shape == (3, 3, 4)
    expected = [("lost", {"k_patches": 3}), ("lost", {"k_patches": 10}), ("center", {})]
    for column, (method, given) in enumerate(expected):
        alone = propose_boxes(maps, method, heuristic_options(method, given))
        assert np.array_equal(boxes[:, column], alone)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"nothing": {}}, "method 'nothing' is unknown"),
        ({"lost": {"tau": [1]}}, "has no option 'tau'"),
        ({"tokencut": {"threshold": [0.1, 7]}}, "threshold"),
    ],
)
def test_bad_settings_are_refused(methods: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SweepOptions(methods).settings()


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"lost": 3}', '{"lost": {"k_patches": 3}}', '{"lost": {"k_patches": ["3"]}}'],
)
def test_no_object_of_methods(text: str) -> None:
    with pytest.raises(InputError, match="--methods"):
        parse_methods(text)


def test_an_object_of_methods() -> None:
    methods = {"lost": {"k_patches": [1, 2]}}
    assert parse_methods(json.dumps(methods)) == methods
