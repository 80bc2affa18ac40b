"""Files that the configuration names."""

from __future__ import annotations

import os

from support.given_files import given_file, optional_file, weights_file, without, without_file


def test_only_files_are_inputs() -> None:
    assert given_file("~/x") == os.path.expanduser("~/x")
    assert (optional_file(None), optional_file("x")) == ([], "x")
    assert [weights_file(w) for w in (None, "timm", "random", "x.safetensors")] == [
        [],
        [],
        [],
        "x.safetensors",
    ]


def test_a_key_stays_an_option_unless_it_names_a_file() -> None:
    assert without_file({"init": "timm", "lr": 1}, "init") == {"init": "timm", "lr": 1}
    assert without_file({"init": "x.safetensors", "lr": 1}, "init") == {"lr": 1}
    assert without({"a": 1, "b": 2, "c": 3}, "a", "c") == {"b": 2}
