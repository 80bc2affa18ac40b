"""Published layouts of weights, each on a file written here in that layout, key for key."""

import argparse
import enum
import functools
import os
import pickle
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest
import torch
from tiny_vit import TINY_VIT
from torch import nn
from torchvision import models

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone
from bbr.errors import InputError
from bbr.fetch.weight_layouts import plain_names, read_foreign, released_detector, resnet_names
from bbr.grounding.network import Grounder, GrounderSpec, published_grounder
from bbr.storage.safe_module_pickle import read_pickled_module
from bbr.storage.safe_pickle import read_plain_pickle


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.fixture
def vit():
    torch.manual_seed(0)
    return build_backbone(BackboneSpec("vit_tiny_patch16_224", TINY_VIT)).network.state_dict()


@pytest.fixture(scope="module")
def resnet():
    """torchvision's ResNet-18, whose names are those of the ResNet-50, with statistics to tell."""
    torch.manual_seed(0)
    network = models.resnet18(weights=None)
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape))
    network.fc = nn.Identity()
    return network.state_dict()


class TestDino:
    """A vision transformer, as DINO's backbones, checkpoints of training and others have it."""

    def test_its_own_file(self, vit, tmp_path):
        torch.save(vit, tmp_path / "dino.pth")
        assert_same(plain_names(read_foreign(tmp_path / "dino.pth")), vit)

    def test_a_full_checkpoint(self, vit, tmp_path):
        """The teacher, wrapped twice, beside its head and what the training keeps."""
        head = {
            "module.head.mlp.0.weight": torch.ones(2),
            "module.head.last_layer.x": torch.ones(1),
        }
        wrapped = {f"module.backbone.{name}": tensor for name, tensor in vit.items()}
        student = {name: torch.zeros_like(tensor) for name, tensor in wrapped.items()}
        content = {
            "student": student | head,
            "teacher": wrapped | head,
            "optimizer": {"state": {0: {"step": 7}}},
            "epoch": 800,
            "args": argparse.Namespace(arch="vit_small"),
        }
        torch.save(content, tmp_path / "full.pth")
        assert_same(plain_names(read_foreign(tmp_path / "full.pth")), vit)

    @pytest.mark.parametrize(
        "prefix", ["backbone.", "module.", "encoder.module.", "module.backbone."]
    )
    def test_wrappers(self, vit, prefix, tmp_path):
        torch.save({f"{prefix}{n}": t for n, t in vit.items()}, tmp_path / "x.pth")
        assert_same(plain_names(read_foreign(tmp_path / "x.pth")), vit)

    def test_a_prefix_of_some_alone_is_none(self, vit):
        mixed = vit | {"module.stray": torch.ones(1)}
        assert_same(plain_names(mixed), mixed)


def detectron_name(name):
    """torchvision's name in Detectron2, by hand for the parts of a ResNet."""
    stage, _, rest = name.partition(".")
    if not stage.startswith("layer"):
        return {"conv1": "stem.conv1", "bn1": "stem.conv1.norm"}[stage] + "." + rest
    block, module, *parameter = rest.split(".")
    if module == "downsample":
        part = {"0": "shortcut", "1": "shortcut.norm"}[parameter.pop(0)]
    else:
        part = module if module.startswith("conv") else f"conv{module[-1]}.norm"
    return ".".join([f"res{int(stage[-1]) + 1}", block, part, *parameter])


class TestResNet:
    def test_dino_s_file(self, resnet, tmp_path):
        torch.save(resnet, tmp_path / "x.pth")
        assert_same(resnet_names(read_foreign(tmp_path / "x.pth")), resnet)

    def test_without_counters_and_with_a_classifier(self, resnet, tmp_path):
        older = {n: t for n, t in resnet.items() if "num_batches" not in n}
        torch.save(
            older | {"fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)}, tmp_path / "x.pth"
        )
        assert_same(resnet_names(read_foreign(tmp_path / "x.pth")), resnet)

    @pytest.mark.parametrize("protocol", [2, 4])
    def test_detectron2_s_pickle(self, resnet, protocol, tmp_path):
        """As LOST's tools write it: arrays under other names, no torch in it."""
        arrays = {detectron_name(n): t.numpy() for n, t in resnet.items() if "num_batches" not in n}
        assert "res3.0.shortcut.norm.running_var" in arrays
        assert "res2.1.conv2.norm.weight" in arrays
        content = {"model": arrays, "__author__": "someone", "matching_heuristics": True}
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol))
        assert_same(resnet_names(read_foreign(tmp_path / "x.pkl")), resnet)

    @pytest.mark.parametrize("content", [[1], {"weights": {}}, {"model": {}}, {"model": {"a": 1}}])
    def test_other_pickles(self, content, tmp_path):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(InputError, match=r"x\.pkl: .*(Detectron2|arrays alone)"):
            read_foreign(tmp_path / "x.pkl")


def save_whole(module, path, packages):
    """Save a module whole, and forget its class, as a reader does who has not its code."""
    for package in packages:
        sys.modules[package] = types.ModuleType(package)
    kind = type(module)
    kind.__module__ = packages[-1]
    kind.__qualname__ = kind.__name__
    setattr(sys.modules[packages[-1]], kind.__name__, kind)
    try:
        torch.save(nn.DataParallel(module), path)
    finally:
        for package in packages:
            del sys.modules[package]


class Format(enum.Enum):
    """Such as timm's, which is made anew by a call of its class."""

    NCHW = "NCHW"


class NetworkElsewhere(nn.Module):
    """Stands for a network of a class that is not here, with the tensors of one that is."""

    def __init__(self, tensors):
        super().__init__()
        self.activation = nn.functional.gelu
        self.norm_layer = functools.partial(nn.LayerNorm, eps=1e-6)
        self.format = Format.NCHW
        self.sizes = {"patch": (16, 16)}
        for name, tensor in tensors.items():
            *parents, last = name.split(".")
            module = self
            for parent in parents:
                if not hasattr(module, parent):
                    module.add_module(parent, nn.Module())
                module = getattr(module, parent)
            module.register_parameter(last, nn.Parameter(tensor))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)


class BboxRegressor(nn.Module):
    """As the release wraps the network of h."""

    def __init__(self, network, k):
        super().__init__()
        self.model, self.num_boxes = network, k


class TestRelease:
    """Modules saved whole, in DataParallel, of classes that are not here."""

    def test_f_h(self, vit, tmp_path):
        save_whole(NetworkElsewhere(vit), tmp_path / "f.pt", ["dino", "dino.vision_transformer"])
        assert_same(plain_names(read_foreign(tmp_path / "f.pt")), vit)

    @pytest.mark.parametrize("layout", ["qkv_image", "mask_image"])
    def test_h_of_discovery(self, layout, tmp_path):
        torch.manual_seed(0)
        network = models.resnet50(weights=None)
        network.fc = nn.Linear(2048, 6 * 5)
        save_whole(BboxRegressor(network, 5), tmp_path / "h.pt", ["bbr_release"])
        tensors = read_foreign(tmp_path / "h.pt")
        h = released_detector(tensors, layout, "h.pt")
        assert (h.spec.network, h.spec.num_boxes, h.spec.layout) == ("resnet50", 5, layout)
        assert_same(h.network.state_dict(), network.state_dict())
        maps = torch.rand(2, 3, 40, 32)
        with torch.no_grad():
            logits, boxes = h(maps)
            # The release's own reading of the last layer: four sides, then object and no object.
            output = network.eval()(maps).reshape(2, 5, 6)
        assert torch.equal(boxes, output[:, :, :4].sigmoid())
        assert torch.equal(logits, output[:, :, 4:])

    def test_h_of_grounding(self, tmp_path):
        torch.manual_seed(0)
        network = models.vgg16(weights=None)
        network.classifier[6] = nn.Linear(4096, 60)
        save_whole(BboxRegressor(network, 10), tmp_path / "h.pt", ["bbr_release"])
        h = released_detector(read_foreign(tmp_path / "h.pt"), "spatial", "h.pt")
        assert (h.spec.network, h.spec.channels, h.spec.num_boxes) == ("vgg16", 1, 10)
        assert_same(h.network.state_dict(), network.state_dict())

    def test_another_network_is_no_h(self, vit):
        with pytest.raises(InputError, match=r"x\.pt: holds no h"):
            released_detector(vit, "qkv_image", "x.pt")

    def test_g(self, tmp_path):
        """WWbL's state dict of a DataParallel module."""
        torch.manual_seed(0)
        ours = Grounder(GrounderSpec()).state_dict()
        unused = {
            f"D.up1.BN2.{part}": torch.ones(1)
            for part in ("weight", "bias", "running_mean", "running_var")
        }
        published = OrderedDict((f"module.{n}", t) for n, t in (ours | unused).items())
        torch.save(published, tmp_path / "net_best.pth")
        grounder = published_grounder(read_foreign(tmp_path / "net_best.pth"), "net_best.pth")
        assert_same(grounder.state_dict(), ours)

    def test_g_h(self, tmp_path):
        """The same network saved whole, of a class that is not here."""
        torch.manual_seed(0)
        ours = Grounder(GrounderSpec()).state_dict()
        parameters = {n: t for n, t in ours.items() if t.is_floating_point()}
        counters = {n: t for n, t in ours.items() if n not in parameters}
        module = NetworkElsewhere(parameters)
        for name, tensor in counters.items():
            parent, _, last = name.rpartition(".")
            module.get_submodule(parent).register_buffer(last, tensor)
        save_whole(module, tmp_path / "gh.pt", ["models", "models.model"])
        grounder = published_grounder(read_foreign(tmp_path / "gh.pt"), "gh.pt")
        assert_same(grounder.state_dict(), ours)


class Malice:
    """Runs a command when it is unpickled by anything that runs what it is told."""

    def __reduce__(self):
        return os.system, ("touch ran",)


class TestCode:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        yield
        assert not (tmp_path / "ran").exists()

    def test_a_module_that_would_run_something(self, tmp_path):
        module = nn.Linear(2, 2)
        module.hidden = Malice()
        torch.save(module, "x.pt")
        message = (
            r"x\.pt: calls \w+\.system, which could do anything; not loaded\. .*state_dict\(\)"
        )
        with pytest.raises(InputError, match=message):
            read_foreign("x.pt")

    def test_an_old_torch_file_that_would_run_something(self):
        torch.save(
            {"a": torch.ones(1), "b": Malice()}, "x.pt", _use_new_zipfile_serialization=False
        )
        with pytest.raises(InputError, match="which could do anything"):
            read_foreign("x.pt")

    def test_a_pickle_that_would_run_something(self, tmp_path):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps({"model": Malice()}))
        with pytest.raises(InputError, match=r"x\.pkl: names \w+\.system, which could do anything"):
            read_foreign("x.pkl")

    def test_whole_modules_of_old_torch_files(self, tmp_path):
        module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        torch.save(module, "x.pt", _use_new_zipfile_serialization=False)
        assert_same(read_pickled_module("x.pt"), module.state_dict())

    def test_damage(self, tmp_path):
        torch.save(nn.Linear(2, 2), "x.pt")
        content = (tmp_path / "x.pt").read_bytes()
        (tmp_path / "x.pt").write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match=r"x\.pt: not a readable weights file"):
            read_foreign("x.pt")

    def test_no_module(self):
        torch.save([nn.Linear], "x.pt")
        with pytest.raises(InputError, match="holds neither a state dict nor a module"):
            read_pickled_module("x.pt")


class TestPlainPickles:
    def test_lists_sets_and_arrays_as_python_2_wrote_them(self, tmp_path):
        content = {"train": [1, 2], "test": {3, 4}, "val": np.array([5, 6]), "n": np.int64(7)}
        (tmp_path / "x.pickle").write_bytes(pickle.dumps(content, 2))
        found = read_plain_pickle(tmp_path / "x.pickle")
        assert (found["train"], found["test"], found["n"]) == ([1, 2], {3, 4}, 7)
        assert found["val"].tolist() == [5, 6]

    def test_what_is_not_a_pickle(self, tmp_path):
        (tmp_path / "x.pickle").write_bytes(b"<html>404</html>")
        with pytest.raises(InputError, match="not a readable pickle"):
            read_plain_pickle(tmp_path / "x.pickle")
        with pytest.raises(InputError, match="cannot be read"):
            read_plain_pickle(tmp_path / "none.pickle")
