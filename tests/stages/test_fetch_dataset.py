"""fetch_dataset.py against a server on this machine, with small archives of the true layouts."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import fetch_dataset
import pytest
import yaml
from file_server import FileServer
from small_runs import command

from bbr.fetch.sources import read_sources
from bbr.storage.atomic import only_user_of

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "workflow" / "sources" / "datasets.yaml"


def tar_of(*names: str) -> bytes:
    """A tar archive of files that hold their names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


def zip_of(*names: str) -> bytes:
    """A zip archive of files that hold their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return buffer.getvalue()


VOC = ("VOCdevkit/VOC2007/JPEGImages/000005.jpg", "VOCdevkit/VOC2007/Annotations/000005.xml")


class Place:
    """A table of one entry and a folder of data."""

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / "data"
        self.receipt = self.data / "receipts" / "x.json"

    def table(self, **entry: Any) -> list[str]:
        """Write the table; the command line but for --output."""
        path = self.root / "datasets.yaml"
        path.write_text(yaml.safe_dump({"x": entry}), encoding="utf-8")
        return command(sources=path, name="x", folder=self.data)

    def fetch(self, **entry: Any) -> int:
        """Run the stage."""
        return fetch_dataset.main([*self.table(**entry), "--output", str(self.receipt)])

    def found(self) -> set[str]:
        """Files of data, but for receipts and what is kept of downloads."""
        files = (p.relative_to(self.data).as_posix() for p in self.data.rglob("*") if p.is_file())
        return {f for f in files if not f.startswith(("receipts/", "downloads/"))}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_voc_in_its_tar(place: Place, web: FileServer) -> None:
    web.files["VOC.tar"] = tar_of(*VOC, "VOCdevkit/VOC2008/no")
    entry = {
        "terms": "for research",
        "files": [
            {
                "url": web.url("VOC.tar"),
                "take": {"VOCdevkit/VOC2007": "VOCdevkit/VOC2007"},
            }
        ],
    }
    assert place.fetch(**entry) == 0
    assert place.found() == set(VOC)
    assert not (place.data / "downloads" / "x" / "VOC.tar").exists()  # its disk space
    receipt = json.loads(place.receipt.read_text())
    assert len(receipt["downloaded"][web.url("VOC.tar")]) == 64
    assert place.fetch(**entry) == 0
    assert len(web.asked) == 1  # what is there is left alone
    assert json.loads(place.receipt.read_text()) == receipt


def test_two_archives_and_lists(place: Place, web: FileServer) -> None:
    splits = {"train": [3, 1], "val": {2}, "test": [4]}
    web.files |= {
        "images.zip": zip_of("VG_100K/1.jpg"),
        "images2.zip": zip_of("VG_100K_2/2.jpg"),
        "splits.pickle": pickle.dumps(splits, 2),
        "names.txt": b"train2014/a.jpg\ntrain2014/b.jpg\n",
    }
    files = [
        {"url": web.url("images.zip"), "take": {"VG_100K": "vg/VG_100K"}},
        {"url": web.url("images2.zip"), "take": {"VG_100K_2": "vg/VG_100K_2"}},
        {"url": web.url("splits.pickle"), "lists": {k: f"vg/{k}.txt" for k in splits}},
        {"url": web.url("names.txt"), "place": "coco/names.txt", "lines": 2},
    ]
    assert place.fetch(files=files) == 0
    assert place.found() == {
        "vg/VG_100K/1.jpg",
        "vg/VG_100K_2/2.jpg",
        "vg/train.txt",
        "vg/val.txt",
        "vg/test.txt",
        "coco/names.txt",
    }
    assert (place.data / "vg/train.txt").read_text() == "3\n1\n"
    assert sorted(json.loads(place.receipt.read_text())["lists"]) == [
        "coco/names.txt",
        "vg/test.txt",
        "vg/train.txt",
        "vg/val.txt",
    ]


def test_a_truncated_archive_is_completed_by_the_next_run(
    place: Place, web: FileServer, refused: Any
) -> None:
    web.files["VOC.tar"] = tar_of(*VOC)
    web.break_after["VOC.tar"] = [700, *[0] * 4]
    entry = {"files": [{"url": web.url("VOC.tar"), "take": {"VOCdevkit/VOC2007": "VOC2007"}}]}
    message = refused(fetch_dataset, *place.table(**entry), output=place.receipt, at_last=True)
    assert "VOC.tar: it ended after 700 of" in message
    assert place.found() == set()
    assert place.fetch(**entry) == 0
    assert web.asked[-1] == ("VOC.tar", 700)
    assert len(place.found()) == 2


@pytest.mark.parametrize("left", ["download", "scratch"])
def test_killed_once_all_is_in_its_place(place: Place, web: FileServer, left: str) -> None:
    """The next run tells the same of what was downloaded, and clears up."""
    web.files["VOC.tar"] = tar_of(*VOC)
    entry = {"files": [{"url": web.url("VOC.tar"), "take": {"VOCdevkit/VOC2007": "VOC2007"}}]}
    assert place.fetch(**entry) == 0
    receipt, files = place.receipt.read_bytes(), place.found()
    place.receipt.unlink()
    (place.data / "downloads" / "x" / "VOC.tar").write_bytes(web.files["VOC.tar"])
    if left == "scratch":
        (place.data / ".VOC.tar.unpacking").mkdir()
    assert place.fetch(**entry) == 0
    assert (place.receipt.read_bytes(), place.found()) == (receipt, files)
    assert len(web.asked) == 1
    assert not list(place.data.glob(".*"))
    assert not list(place.data.rglob("VOC.tar"))


def test_another_run_fetches_the_same(place: Place, web: FileServer, refused: Any) -> None:
    downloads = place.data / "downloads" / "x"
    downloads.mkdir(parents=True)
    options = place.table(files=[{"url": web.url("a.zip"), "take": {"a": "a"}}])
    with only_user_of(downloads):
        message = refused(fetch_dataset, *options, output=place.receipt)
    assert "another run works there" in message
    assert web.asked == []


def test_a_wrong_checksum(place: Place, web: FileServer, refused: Any) -> None:
    web.files["VOC.tar"] = tar_of(*VOC)
    entry = {
        "files": [
            {
                "url": web.url("VOC.tar"),
                "md5": "0" * 32,
                "take": {"VOCdevkit/VOC2007": "VOC2007"},
            }
        ]
    }
    message = refused(fetch_dataset, *place.table(**entry), output=place.receipt, at_last=True)
    assert f"not {'0' * 32}" in message
    assert not list(place.data.rglob("*.tar*"))


@pytest.mark.parametrize("archive", [tar_of, zip_of])
def test_a_path_that_climbs_out(place: Place, web: FileServer, refused: Any, archive: Any) -> None:
    web.files["VOC.tar"] = archive(*VOC, "VOCdevkit/VOC2007/../../../../evil")
    entry = {"files": [{"url": web.url("VOC.tar"), "take": {"VOCdevkit/VOC2007": "VOC2007"}}]}
    message = refused(fetch_dataset, *place.table(**entry), output=place.receipt, at_last=True)
    assert "which leads out of the folder" in message
    assert place.found() == set()
    assert not list(place.root.rglob("evil"))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ({"place": "names.txt", "lines": 3}, b"a\nb\n", "has 2 lines, not 3; it is another list"),
        ({"lists": {"train": "train.txt"}}, pickle.dumps({"test": []}), "has no list 'train'"),
        ({"lists": {"train": "train.txt"}}, b"<html>", "not a readable pickle"),
    ],
)
def test_other_files_than_were_meant(
    place: Place, web: FileServer, refused: Any, file: Any, content: bytes, message: str
) -> None:
    web.files["file"] = content
    options = place.table(files=[{"url": web.url("file"), **file}])
    assert message in refused(fetch_dataset, *options, output=place.receipt, at_last=True)
    assert place.found() == set()


def test_what_a_person_is_to_do(place: Place, refused: Any) -> None:
    entry = {
        "page": "https://example.org",
        "by_hand": "Ask for it, and unpack it.",
        "wanted": ["flickr/images"],
    }
    message = refused(fetch_dataset, *place.table(**entry), output=place.receipt)
    wanted = place.data / "flickr/images"
    assert message == (
        f"x: {wanted} is not there. Ask for it, and unpack it. See https://example.org"
    )
    wanted.mkdir(parents=True)
    assert place.fetch(**entry) == 0


def test_too_little_disk(place: Place, web: FileServer, refused: Any) -> None:
    entry = {"gigabytes": 1e9, "files": [{"url": web.url("a.zip"), "take": {"a": "a"}}]}
    message = refused(fetch_dataset, *place.table(**entry), output=place.receipt)
    assert "GB are needed" in message
    assert web.asked == []


def test_the_table_that_ships() -> None:
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    table = read_sources(TABLE)
    places = [place for source in table.values() for place in source.places]
    assert len(places) == len(set(places))
    for year, name in (("2007", "voc07"), ("2012", "voc12")):
        (file,) = table[name].files
        known = DATASET_YEAR_DICT[year]
        assert (file.url, file.md5) == (known["url"], known["md5"])
    for source in table.values():
        assert source.page, source.name
        for file in source.files:
            assert sum(map(bool, (file.take, file.lists, file.place))) == 1, file.url
            assert file.md5 is None or len(file.md5) == 32


def test_visual_genome_s_splits_are_two(tmp_path: Path, web: FileServer) -> None:
    """Akbari et al.'s pickle, as Python 2 wrote it, through the table that comes with the workflow:
    every index of Visual Genome reads a list that it brings."""
    ids = {"train": [1, 5, 3], "test": [2, 4]}
    web.files["data_splits.pickle"] = pickle.dumps(ids, 2)
    name = "visual_genome_splits"
    entry = yaml.safe_load(TABLE.read_text(encoding="utf-8"))[name]
    entry["files"][0]["url"] = web.url("data_splits.pickle")
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump({name: entry}), encoding="utf-8")
    given = {"sources": tmp_path / "datasets.yaml", "name": name, "folder": tmp_path / "data"}
    assert fetch_dataset.main(command(**given, output=tmp_path / "receipt.json")) == 0
    lists = {f"data/visual_genome/splits/{split}.txt": split for split in ids}
    for path, split in lists.items():
        assert list(map(int, (tmp_path / path).read_text().split())) == ids[split]
    paper = yaml.safe_load((ROOT / "workflow/configs/paper.yaml").read_text(encoding="utf-8"))
    of_vg = [d for d in paper["datasets"].values() if d["format"] == "visual_genome"]
    assert {dataset["image_list"] for dataset in of_vg} == set(lists)
