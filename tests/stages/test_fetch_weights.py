"""fetch_weights.py and import_weights.py: what is published, as files of ours; and refusals."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import fetch_weights
import import_weights
import pytest
import torch
import yaml
from file_server import FileServer
from small_runs import command
from torch import nn
from torchvision import models

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone, load_backbone
from bbr.detector.networks import load_detector
from bbr.fetch import weight_registry
from bbr.storage.safetensors_files import read_tensors

VIT = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def vit() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build_backbone(BackboneSpec(VIT)).network.state_dict()


@pytest.fixture(scope="module")
def published(vit: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file such as DINO's."""
    path = tmp_path_factory.mktemp("published") / "dino.pth"
    torch.save(vit, path)
    return path.read_bytes()


class Folder:
    """A registry of one entry, and the command line that fetches it."""

    def __init__(self, root: Path) -> None:
        self.root, self.output = root, root / "weights" / "net.safetensors"

    def registry(self, **entry: Any) -> None:
        """Write it; `sources` apart, what is left out is a ViT's."""
        row = {"kind": "backbone", "architecture": VIT, **entry}
        (self.root / "weights.yaml").write_text(yaml.safe_dump({"net": row}), encoding="utf-8")

    def options(self, **more: object) -> list[str]:
        """All but --output."""
        given = {
            "registry": self.root / "weights.yaml",
            "name": "net",
            "downloads": self.root / "downloads",
            **more,
        }
        return command(**given)

    def fetch(self, **more: object) -> int:
        """Run the stage."""
        return fetch_weights.main([*self.options(**more), "--output", str(self.output)])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_downloaded_checked_and_like_any_backbone(
    folder: Folder, web: FileServer, published: bytes, vit: dict[str, torch.Tensor]
) -> None:
    web.files["dino.pth"] = published
    digest = hashlib.sha256(published).hexdigest()
    folder.registry(sources=[{"file": "dino.pth", "url": web.url("dino.pth"), "sha256": digest}])
    assert folder.fetch() == 0
    loaded = load_backbone(str(folder.output)).network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in vit.items())
    record = read_tensors(folder.output)[1]["provenance"]
    assert record["parameters"]["sha256"] == digest
    folder.output.unlink()
    assert folder.fetch() == 0
    assert len(web.asked) == 1  # the download is kept


def test_the_next_source_where_one_is_out_of_reach(
    folder: Folder, web: FileServer, published: bytes
) -> None:
    web.files["b.pth"] = published
    sources = [{"file": f"{n}.pth", "url": web.url(f"{n}.pth")} for n in "ab"]
    folder.registry(sources=sources)
    assert folder.fetch() == 0
    assert [path for path, _ in web.asked] == ["a.pth", "b.pth"]


def test_the_hub_is_asked_where_its_address_points(
    folder: Folder, web: FileServer, published: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", web.address)
    monkeypatch.setattr(weight_registry, "hf_hub_url", lambda *of: web.url("/".join(of)))
    web.files["timm/net/model.safetensors"] = published
    folder.registry(sources=[{"file": "net.pth", "hub": ["timm/net", "model.safetensors"]}])
    assert folder.fetch() == 0


@pytest.mark.parametrize("place", ["named", "downloads"])
def test_a_local_file_always_wins(
    folder: Folder, web: FileServer, published: bytes, place: str
) -> None:
    folder.registry(sources=[{"file": "dino.pth", "url": web.url("dino.pth")}])
    path = folder.root / ("downloads" if place == "downloads" else "mine") / "dino.pth"
    path.parent.mkdir()
    path.write_bytes(published)
    assert folder.fetch(**({"file": path} if place == "named" else {})) == 0
    assert web.asked == []


class TestRefusals:
    def test_a_wrong_digest(self, folder: Folder, web: FileServer, refused: Any) -> None:
        web.files["dino.pth"] = b"something else"
        folder.registry(
            sources=[{"file": "dino.pth", "url": web.url("dino.pth"), "sha256": "0" * 64}]
        )
        message = refused(fetch_weights, *folder.options(), output=folder.output, at_last=True)
        assert "SHA-256" in message or "SHA256 is" in message
        assert message.endswith("It was removed already")
        assert not list((folder.root / "downloads").iterdir())

    def test_a_named_file_that_is_not_the_published_one(
        self, folder: Folder, published: bytes, refused: Any
    ) -> None:
        folder.registry(sources=[{"file": "dino.pth", "url": "http://x/", "sha256": "0" * 64}])
        (folder.root / "dino.pth").write_bytes(published)
        options = folder.options(file=folder.root / "dino.pth")
        assert "remove it, and get it again" in refused(
            fetch_weights, *options, output=folder.output
        )

    def test_a_file_that_changed_since_it_first_came(
        self, folder: Folder, web: FileServer, published: bytes, refused: Any
    ) -> None:
        web.files["dino.pth"] = published
        folder.registry(sources=[{"file": "dino.pth", "url": web.url("dino.pth")}])
        assert folder.fetch() == 0
        folder.output.unlink()
        (folder.root / "downloads" / "dino.pth").unlink()
        web.files["dino.pth"] = published + b"!"
        message = refused(fetch_weights, *folder.options(), output=folder.output, at_last=True)
        assert "but it first was" in message

    def test_another_architecture(
        self, folder: Folder, web: FileServer, published: bytes, refused: Any
    ) -> None:
        web.files["dino.pth"] = published
        folder.registry(
            architecture="vit_small_patch16_224",
            sources=[{"file": "dino.pth", "url": web.url("dino.pth")}],
        )
        message = refused(fetch_weights, *folder.options(), output=folder.output, at_last=True)
        assert "tensors do not fit architecture vit_small_patch16_224" in message

    def test_code(self, folder: Folder, refused: Any, tmp_path: Path) -> None:
        class Malice:
            def __reduce__(self) -> Any:
                return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

        module = nn.Linear(2, 2)
        module.hidden = Malice()
        torch.save(module, tmp_path / "dino.pth")
        folder.registry(sources=[{"file": "dino.pth", "page": "https://example.org"}])
        options = folder.options(file=tmp_path / "dino.pth")
        message = refused(fetch_weights, *options, output=folder.output)
        assert "which could do anything; not loaded" in message
        assert not (tmp_path / "ran").exists()

    def test_a_file_for_a_person_to_fetch(self, folder: Folder, refused: Any) -> None:
        folder.registry(sources=[{"file": "move.pth", "page": "https://example.org/move"}])
        message = refused(fetch_weights, *folder.options(), output=folder.output)
        place = folder.root / "downloads" / "move.pth"
        assert message == (
            "net: is for a person to fetch; get it from https://example.org/move and put it at"
            f" {place}, or name the file: --config 'local_weights={{net: FILE}}'"
        )

    def test_no_network(self, folder: Folder, web: FileServer, refused: Any) -> None:
        folder.registry(sources=[{"file": "dino.pth", "url": web.url("dino.pth")}])
        message = refused(fetch_weights, *folder.options(), output=folder.output)
        assert "could not be fetched" in message
        assert "404" in message
        assert "local_weights" in message

    def test_a_program_of_torchscript_without_a_known_digest(
        self, folder: Folder, refused: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(weight_registry, "new_open_clip", lambda _: nn.Linear(2, 2))
        folder.registry(kind="clip", sources=[{"file": "ViT-B-32.pt", "url": "http://x/"}])
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), folder.root / "mine.pt")
        options = folder.options(file=folder.root / "mine.pt")
        message = refused(fetch_weights, *options, output=folder.output)
        assert "could hold any program" in message

    def test_unknown_entries(self, folder: Folder, refused: Any) -> None:
        folder.registry(sources=[])
        options = [*folder.options(), "--name", "nett"]
        assert "has no nett; choose from net" in refused(
            fetch_weights, *options, output=folder.output
        )


class Archived(nn.Module):
    """As OpenAI's archive: half precision, with its settings among the buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 2).half())
        for name in ("input_resolution", "context_length", "vocab_size"):
            self.register_buffer(name, torch.tensor(7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_clip_as_openai_has_it(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Linear(2, 3, bias=False)
    monkeypatch.setattr(weight_registry, "new_open_clip", lambda _: network)
    path = folder.root / "ViT-B-32.pt"
    archived = Archived()
    torch.jit.save(torch.jit.script(archived), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    folder.registry(
        kind="clip", sources=[{"file": "ViT-B-32.pt", "url": "http://x/", "sha256": digest}]
    )
    assert folder.fetch(file=path) == 0
    tensors, _ = read_tensors(folder.output)
    assert torch.equal(tensors["weight"], archived.weight.float())


def test_a_trunk_of_torchvision_s_by_the_digits_in_its_name(
    folder: Folder, web: FileServer, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = models.resnet18(weights=None)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    content = (tmp_path / "x.pth").read_bytes()
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    web.files[name] = content
    folder.registry(
        kind="trunk", architecture="resnet18", sources=[{"file": name, "url": web.url(name)}]
    )
    assert folder.fetch() == 0
    tensors, _ = read_tensors(folder.output)
    assert set(tensors) == {n for n in network.state_dict() if not n.startswith("fc.")}
    assert torch.equal(
        tensors["layer2.0.downsample.0.weight"],
        network.state_dict()["layer2.0.downsample.0.weight"],
    )


def test_files_that_a_library_reads_as_they_are(folder: Folder, web: FileServer) -> None:
    web.files |= {"config.json": b"{}", "model.bin": b"tensors"}
    folder.registry(
        kind="folder",
        sources=[{"file": f"net/{n}", "url": web.url(n)} for n in ("config.json", "model.bin")],
    )
    folder.output = folder.root / "weights" / "net"
    assert folder.fetch() == 0
    assert {p.name: p.read_bytes() for p in folder.output.iterdir()} == web.files
    assert [p.name for p in folder.output.parent.iterdir()] == ["net"]


def test_h_of_the_release_by_hand(tmp_path: Path, refused: Any) -> None:
    torch.manual_seed(0)
    network = models.resnet50(weights=None)
    network.fc = nn.Linear(2048, 60)
    file = tmp_path / "box.pt"
    torch.save({f"module.model.{n}": t for n, t in network.state_dict().items()}, file)
    output = tmp_path / "h.safetensors"
    options = command(kind="detector", file=file, layout="mask_image")
    assert import_weights.main([*options, "--output", str(output)]) == 0
    assert load_detector(output).spec.layout == "mask_image"
    message = refused(
        import_weights, *command(kind="backbone", file=file), output=tmp_path / "f.safetensors"
    )
    assert "add --architecture" in message
