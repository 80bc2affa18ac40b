"""The record of what a dataset is made from changes with what a reader sees, and not else."""

from __future__ import annotations

import json
import os
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from odd_inputs import coco, photo, voc
from reader_data import dump
from support import fingerprints

LAYOUTS = ("folder", "voc", "coco", "flickr30k", "visual_genome", "referit")


class Data:
    """A dataset of two photographs in a repository of its own, indexed."""

    def __init__(self, layout: str) -> None:
        self.layout, self.root = layout, Path("photos")
        self.paths = {"source": str(self.root)}
        getattr(self, f"_make_{layout}")()
        self.record()
        self._index()

    def _index(self) -> None:
        """What of an index says which photographs it was made of."""
        folder = self.images[0].parent  # as readers have it: the folder of the photographs
        images = [
            {"file_name": os.path.relpath(path, folder), "crc32": zlib.crc32(path.read_bytes())}
            for path in self.images
        ]
        root = os.path.relpath(folder, "results/x")
        dump(Path("results/x/index.json"), {"info": {"image_root": root}, "images": images})

    def _make_folder(self) -> None:
        self.images = [photo(self.root / "a.jpg"), photo(self.root / "sub/b.jpg")]
        self.described = Path("phrases.txt")
        self.described.write_text("red ball\n")
        self.paths["phrases"] = "phrases.txt"

    def _make_voc(self) -> None:
        voc(self.root, {"a.jpg": "a.jpg", "sub/b.jpg": "b.jpg"})
        self.images = [self.root / "JPEGImages/a.jpg", self.root / "JPEGImages/sub/b.jpg"]
        self.described = self.root / "Annotations/a.xml"

    def _make_coco(self) -> None:
        self._make_folder()
        self.described = coco(Path("c.json"), [{"file_name": "a.jpg"}], [{"image_id": 1}])
        self.paths = {"source": str(self.root), "annotations": "c.json"}

    _make_visual_genome = _make_coco

    def _make_flickr30k(self) -> None:
        self._make_folder()
        self.paths = {"source": str(self.root)}
        self.described = Path("entities/Sentences/a.txt")
        self.described.parent.mkdir(parents=True)
        self.described.write_text("[/EN#1/people A child]\n")

    def _make_referit(self) -> None:
        self._make_flickr30k()
        self.paths["annotations"] = "entities"

    def record(self) -> tuple[bytes, int]:
        """The record's bytes and date, as a run that is planned now has them."""
        fingerprints._record.cache_clear()
        path = Path(fingerprints.record_source("x", self.layout, self.paths))
        return path.read_bytes(), path.stat().st_mtime_ns


@pytest.fixture(params=LAYOUTS)
def data(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    """A dataset of each layout."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Data(request.param)


def _replace(data: Data) -> None:
    photo(data.images[1], 48, 64)


def _same_size_and_date(data: Data) -> None:
    path = data.images[0]
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, Callable[[Data], object]] = {
    "a photograph added": lambda data: photo(data.images[0].with_name("c.jpg")),
    "one added in a subfolder": lambda data: photo(data.images[1].with_name("d.png")),
    "a photograph removed": lambda data: data.images[0].unlink(),
    "a photograph replaced in place": _replace,
    "replaced by one of its size and date": _same_size_and_date,
    "annotations or phrases edited": lambda data: data.described.write_text("blue ball\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_reader_sees_is_found(data: Data, change: str) -> None:
    before = data.record()
    CHANGES[change](data)
    assert data.record()[0] != before[0]


def _touch(data: Data) -> None:
    for path in (data.root, *data.images, data.described):
        os.utime(path)


def _future(data: Data) -> None:
    for path in (data.root, data.images[0], data.described):
        os.utime(path, (time.time() + 10**7,) * 2)


def _leftovers(data: Data) -> None:
    for name in (".DS_Store", "Thumbs.db", "sub/.DS_Store", "._a.jpg", "desktop.ini"):
        (data.images[0].parent / name).write_bytes(b"\0" * 9)
    photo(data.images[0].parent / "@eaDir/a.jpg/THUMB.jpg")


def _move(data: Data) -> None:
    here = Path.cwd()
    shutil.copytree(here, here.parent / "there")  # with other dates, as clones have them
    os.chdir(here.parent / "there")


OTHERS = {
    "a touched folder, touched files": _touch,
    "dates in the future": _future,
    "`.DS_Store`, Thumbs.db, `@eaDir`": _leftovers,
    "a moved clone": _move,
}


@pytest.mark.parametrize("event", OTHERS)
def test_nothing_else_is(data: Data, event: str) -> None:
    before = data.record()
    OTHERS[event](data)
    if event == "a moved clone":
        for path in Path("photos").rglob("*.jpg"):
            os.utime(path)
        assert data.record()[0] == before[0]
    else:
        assert data.record() == before


def test_files_that_did_not_change_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = Data("folder")
    monkeypatch.setattr(fingerprints, "_checksum", lambda path: pytest.fail(f"{path} was read"))
    data.record()
    os.utime(data.root)
    data.record()


def test_a_folder_that_lies_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index names it, so that it has to be made anew."""
    monkeypatch.chdir(tmp_path)
    data = Data("folder")
    before = json.loads(data.record()[0])
    data.root.rename("elsewhere")
    data.paths["source"] = "elsewhere"
    after = json.loads(data.record()[0])
    assert after["files"] == before["files"]
    assert after["root"] != before["root"]


def test_links_in_a_circle_are_followed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    voc(Path("photos"), {"a.jpg": "a.jpg"})
    (tmp_path / "photos/Annotations/again").symlink_to(tmp_path / "photos")
    paths = {"source": str(tmp_path / "photos")}
    record = json.loads(Path(fingerprints.record_source("x", "voc", paths)).read_text())
    annotations = [name for name in record["files"] if name.endswith("a.xml")]
    assert annotations == ["source/Annotations/a.xml"]
