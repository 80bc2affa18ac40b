"""Folders of photographs as people have them: each file is used, listed or counted."""

from __future__ import annotations

import os

import numpy as np
import pytest
from odd_inputs import indexed, photo, refused
from PIL import Image, PngImagePlugin

from bbr.data.images import read_rgb


def names(index):
    return [image["file_name"] for image in index.images]


def skipped(index):
    return {item["file_name"]: item["reason"] for item in index.info["skipped"]}


class TestEndings:
    def test_of_a_telephone(self, tmp_path, note):
        root = tmp_path / "photos"
        for name in ("IMG_3.JPG", "paste.jfif", "b.jpe"):
            photo(root / name, format="JPEG")
        photo(root / "web.avif")
        (root / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
        index = indexed(tmp_path / "i.json", "folder", root)
        assert names(index) == ["IMG_3.JPG", "b.jpe", "paste.jfif", "web.avif"]
        assert list(skipped(index)) == ["IMG_1.HEIC"]
        note(
            "folder: JPG, HEIC, AVIF, JFIF",
            "one image; the others unmentioned",
            "all that the image library opens; the rest listed with its reason",
        )

    @pytest.mark.parametrize("ending", ["jp2", "ppm", "tga", "pcx", "sgi", "ico", "dib"])
    def test_of_pillow(self, tmp_path, ending):
        photo(tmp_path / "photos" / f"a.{ending}")
        assert names(indexed(tmp_path / "i.json", "folder", tmp_path / "photos")) == [f"a.{ending}"]

    def test_unknown_or_none(self, tmp_path):
        root = tmp_path / "photos"
        photo(root / "m.jpg_large", format="JPEG")
        photo(root / "no ending", format="PNG")
        (root / "notes.txt").write_text("BMs are no bitmaps unless they are")
        (root / "raw.NEF").write_bytes(b"II*\0" + bytes(100))
        index = indexed(tmp_path / "i.json", "folder", root)
        assert names(index) == ["m.jpg_large", "no ending"]
        assert skipped(index) == {"raw.NEF": "a camera's raw file; export it as JPEG or TIFF"}
        assert index.info["notes"] == {"not an image (.txt)": 1}

    def test_nothing_to_use_says_what_was_seen(self, tmp_path, capsys):
        (tmp_path / "a.txt").write_text("text")
        message = refused(capsys, tmp_path / "i.json", "folder", "--source", tmp_path)
        assert message.endswith("no images in it or below (seen: 1 × not an image (.txt))")


class TestOddImages:
    def test_modes_shapes_and_links(self, tmp_path, note):
        root = tmp_path / "photos"
        photo(root / "one.png", 1, 1)
        photo(root / "thin.png", 1, 300)
        photo(root / "pano.jpg", 900, 45)
        for mode in ("CMYK", "P", "L", "LA", "RGBA", "1"):
            kind = "jpg" if mode == "CMYK" else "png"
            Image.new(mode, (64, 48)).save(root / f"{mode}.{kind}")
        (root / "empty.jpg").touch()
        (root / "._plain.jpg").write_bytes(b"Mac OS X")
        photo(tmp_path / "elsewhere/linked.jpg")
        (root / "link.jpg").symlink_to(tmp_path / "elsewhere/linked.jpg")
        (root / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
        index = indexed(tmp_path / "i.json", "folder", root)
        assert len(index.images) == 10
        assert skipped(index) == {"dangling.jpg": "no such file", "empty.jpg": "empty file"}
        assert index.info["notes"] == {"a hidden file": 1}
        note(
            "folder: 1×1, 1×300, 900×45, CMYK, palette, links, empty and hidden files",
            "hidden files unmentioned",
            "each used, or listed with its reason, or counted",
        )

    def test_links_to_folders(self, tmp_path, note):
        root = tmp_path / "photos"
        photo(root / "real/a.jpg")
        photo(tmp_path / "elsewhere/b.jpg")
        (root / "another").symlink_to(root / "real")
        (root / "far").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere/back").symlink_to(root)
        (tmp_path / "elsewhere/up").symlink_to(tmp_path)
        index = indexed(tmp_path / "i.json", "folder", root)
        assert names(index) == ["far/b.jpg", "real/a.jpg"]
        assert index.info["notes"] == {"a link to a folder that is read already": 2}
        note("folder: links to folders, in circles too", "dropped silently", "each followed once")

    def test_what_storage_systems_leave(self, tmp_path, note):
        root = tmp_path / "photos"
        photo(root / "a.jpg")
        photo(root / "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg")
        photo(root / "#recycle/old.jpg")
        photo(root / ".thumbnails/a.jpg")
        (root / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
        index = indexed(tmp_path / "i.json", "folder", root)
        assert names(index) == ["a.jpg"]
        assert index.info["notes"] == {
            "a hidden folder, or one of thumbnails or waste": 3,
            "not an image (.db)": 1,
        }
        note("folder: `@eaDir`, `#recycle`, Thumbs.db", "thumbnails indexed", "left out, counted")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
    def test_a_folder_that_may_not_be_read(self, tmp_path):
        photo(tmp_path / "photos/a.jpg")
        closed = tmp_path / "photos/closed"
        closed.mkdir(mode=0)
        index = indexed(tmp_path / "i.json", "folder", tmp_path / "photos")
        assert index.info["notes"] == {"a folder that cannot be read (Permission denied)": 1}


class TestPixels:
    @pytest.mark.parametrize(("largest", "bits"), [(1023, 10), (4095, 12), (2048, 12), (9999, 14)])
    def test_fewer_bits_than_16(self, tmp_path, largest, bits):
        grey = np.array([[0, largest // 2, largest]], np.uint16)
        (tmp_path / "photos").mkdir()
        Image.fromarray(grey).save(tmp_path / "photos/a.png")
        index = indexed(tmp_path / "i.json", "folder", tmp_path / "photos")
        white = 2**bits - 1
        expected = [round(value * 255 / white) for value in grey[0].tolist()]
        assert read_rgb(tmp_path / "photos/a.png")[0, :, 0].tolist() == expected
        assert index.info["notes"] == {f"image of {bits}-bit grey values: scaled to 8": 1}

    def test_fewer_bits_in_the_table(self, tmp_path, note):
        self.test_fewer_bits_than_16(tmp_path, 4000, 12)
        note("a picture of 12 bits in a file of 16", "almost black", "scaled by its bits, noted")

    def test_comments_of_megabytes(self, tmp_path, note):
        text = PngImagePlugin.PngInfo()
        text.add_text("workflow", "x" * 3 * 2**20, zip=True)
        photo(tmp_path / "photos/a.png", pnginfo=text)
        assert names(indexed(tmp_path / "i.json", "folder", tmp_path / "photos")) == ["a.png"]
        note("PNG with a text chunk of megabytes", "unreadable", "read")
