"""bbr.fetch.archives: unpacked as a whole or not at all, and never outside."""

import io
import tarfile
import zipfile

import pytest

from bbr.errors import InputError
from bbr.fetch.archives import extract


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def write_tar(path, files, links=()):
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


WRITERS = pytest.mark.parametrize("write", [write_zip, write_tar])


@WRITERS
def test_parts_are_put_where_they_belong_and_the_rest_is_dropped(write, tmp_path):
    files = {"VOC/a/1.jpg": "one", "VOC/a/2.jpg": "two", "VOC/b.txt": "b", "__MACOSX/x": "x"}
    archive = write(tmp_path / "x.archive", files)
    extract(archive, {"VOC/a": "data/images", "VOC/b.txt": "lists/b.txt"}, tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")}
    assert found == {
        "data",
        "data/images",
        "data/images/1.jpg",
        "data/images/2.jpg",
        "lists",
        "lists/b.txt",
    }
    assert (tmp_path / "out/data/images/2.jpg").read_text() == "two"


@WRITERS
def test_what_is_there_is_left_alone(write, tmp_path):
    archive = write(tmp_path / "x.archive", {"a/new": "new", "b/new": "new"})
    (tmp_path / "out" / "a").mkdir(parents=True)
    extract(archive, {"a": "a", "b": "b"}, tmp_path / "out")
    assert list((tmp_path / "out" / "a").iterdir()) == []
    assert (tmp_path / "out" / "b" / "new").read_text() == "new"


@WRITERS
def test_remains_of_a_killed_run_do_not_matter(write, tmp_path):
    archive = write(tmp_path / "x.archive", {"a/new": "new"})
    (tmp_path / "out" / ".x.archive.unpacking" / "a" / "old").mkdir(parents=True)
    extract(archive, {"a": "a"}, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").rglob("*")] == ["a", "new"]


@WRITERS
@pytest.mark.parametrize(
    "name", ["../outside", "a/../../outside", "/outside", "..\\outside", "C:\\outside"]
)
def test_a_path_that_climbs_out_is_refused_whole(write, name, tmp_path):
    archive = write(tmp_path / "x.archive", {"a/good": "good", name: "bad"})
    with pytest.raises(InputError, match=r"which leads out of the folder; not unpacked"):
        extract(archive, {"a": "a"}, tmp_path / "out")
    assert not (tmp_path / "outside").exists()
    assert not list((tmp_path / "out").rglob("*"))


def test_links_are_refused(tmp_path):
    archive = write_tar(tmp_path / "x.tar", {"a/good": "good"}, [("a/link", "/etc")])
    with pytest.raises(InputError, match="a/link, a link or device"):
        extract(archive, {"a": "a"}, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*"))


@WRITERS
def test_another_archive(write, tmp_path):
    archive = write(tmp_path / "x.archive", {"VOC2008/x": "x"})
    with pytest.raises(InputError, match=r"x\.archive: holds no VOC2007; it is another archive"):
        extract(archive, {"VOC2007": "VOC2007"}, tmp_path / "out")


@WRITERS
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_a_truncated_archive_leaves_nothing(write, kept, tmp_path):
    files = {f"a/{i}": "content " * 200 for i in range(50)}
    archive = write(tmp_path / "x.archive", files)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match="not a complete archive"):
        extract(archive, {"a": "a"}, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*"))
