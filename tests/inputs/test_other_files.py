"""Weights, features and phrases as people have them: used, or refused in one line that helps."""

from __future__ import annotations

import errno
import fcntl

import h5py
import pytest
import torch

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone, load_backbone
from bbr.clip.small_network import WordTokenizer
from bbr.errors import InputError
from bbr.storage import hdf5
from bbr.storage.hdf5 import CheckedFile, create_hdf5
from bbr.storage.safetensors_files import fit_weights, read_tensors


class Anything(CheckedFile):
    """A file without demands of its own."""

    role, schema = "features", "some"

    def _check(self, attributes):
        pass


def features(path):
    with create_hdf5(path) as file:
        file.attrs.update(schema="some", complete=True)
    return path


class TestReasons:
    def test_of_the_system(self, tmp_path, monkeypatch, note):
        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, "[Errno 13] Unable to open file", "f.h5")

        monkeypatch.setattr(hdf5.h5py, "File", refuse)
        path = tmp_path / "f.h5"
        path.touch()
        with pytest.raises(InputError, match=r"f.h5: cannot be read \(Permission denied\)$"):
            Anything(path)
        note(
            "features without permission to read them",
            "truncated or damaged; make it again",
            "cannot be read (Permission denied)",
        )

    def test_a_lock_of_another_does_not_matter(self, tmp_path, note):
        path = features(tmp_path / "f.h5")
        with open(path, "rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(BlockingIOError):
                h5py.File(path, "r", locking=True)
            with Anything(path) as read:
                assert read.path == path
        note("features that another process has locked", "truncated or damaged", "read, no locks")

    def test_of_weights(self, tmp_path, monkeypatch):
        path = tmp_path / "w.safetensors"
        path.touch()

        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)
        with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)$"):
            read_tensors(path)


class TestWeights:
    def test_a_torch_file(self, tmp_path, note):
        torch.save({"x": torch.ones(1)}, tmp_path / "w.pth")
        with pytest.raises(InputError, match=r"a torch file, .* stages/import_weights.py --file"):
            read_tensors(tmp_path / "w.pth")
        note("weights=FILE.pth", "not a complete safetensors file", "names `import_weights.py`")

    def test_a_file_with_a_head(self, note):
        network = torch.nn.Linear(2, 2)
        tensors = {**network.state_dict(), "head.weight": torch.ones(1)}
        with pytest.raises(InputError, match=r"first: head.weight.*import_weights.py"):
            fit_weights(network, tensors, "w.safetensors", "x")
        note("weights with a head", "tensors do not fit", "names `import_weights.py`")

    def test_former_names(self, note):
        arguments = {"depth": 1, "embed_dim": 6, "num_heads": 1}
        backbone = load_backbone("random", "vit_small_patch16_224_dino", arguments)
        assert backbone.spec.architecture == "vit_small_patch16_224.dino"
        assert backbone.spec.facet == "key"
        note("timm's former names", "traceback, `AttributeError`", "resolved")

    def test_near_names(self):
        with pytest.raises(InputError, match=r"did you mean vit_small_patch16_224"):
            build_backbone(BackboneSpec("vit_small_patch16_225"))

    def test_a_network_that_bears_one_size_alone(self, note):
        with pytest.raises(InputError, match=r"does not run on \d+x\d+ pixels"):
            load_backbone("random", "swin_tiny_patch4_window7_224")
        note("a network that cannot run", "traceback at the first image", "one line, before any")


def test_unknown_words(note):
    tokenize = WordTokenizer(("red", "ball"), 8)
    found = tokenize.unknown_words(["a red zebra", "Zebra!", "red ball"])
    assert found == {"zebra": 2, "a": 1}
    note("phrases of words unknown to CLIP", "a map all the same", "a map, and the words named")
