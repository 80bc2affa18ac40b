"""Bad images under every stage that reads some, and file names that trip up careless code."""

from __future__ import annotations

import random
import shutil
import struct
import zlib
from pathlib import Path

import pytest
from outcomes import meanings, outcome
from stage_runs import Runs, inputs_of

from bbr.storage.json_files import read_json, write_json

FIRST = "000001.jpg"
SCENES = ("render_scenes", "render_phrases")
NAMES = (
    "a b.jpg",
    "new\nline.jpg",
    "ünï – 漢字 🦊.jpg",
    'it\'s "quoted".jpg',
    "-h.jpg",
    "%s{0}$x.jpg",
)
FOLDER = "my photos\n– ü '\""


def png(width: int, height: int, rows: bytes) -> bytes:
    """A grey PNG whose header states a size, whatever its rows hold."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + sum_

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def one_flipped_bit(content: bytes) -> bytes:
    """In the middle of a JPEG, where it mostly decodes all the same."""
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 1 << random.Random(0).randrange(8)
    return bytes(damaged)


BAD = {
    "image of zero bytes": lambda content: b"",
    "image truncated": lambda content: content[: len(content) // 2],
    "decompression bomb": lambda content: png(60000, 60000, bytes(1000)),
    "image that lies about its size": lambda content: png(5000, 5000, bytes(1000)),
    "image of another size than indexed": lambda content: png(9, 9, bytes(90)),
    "image with a flipped bit": one_flipped_bit,
}


def scenes_of(stage: str) -> list[str]:
    """The datasets that a stage reads."""
    return [name for name in inputs_of(stage) if name in SCENES]


def copy_dataset(runs: Runs, name: str, folder: Path) -> Path:
    """A dataset of its own, for a test to spoil; its index."""
    shutil.copytree(runs.output(name).parent, folder)
    return folder / "index.json"


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_image(runs, table, stage, fault, tmp_path):
    expected = runs.output(stage).parent
    for name in scenes_of(stage):
        index = copy_dataset(runs, name, tmp_path / name)
        image = index.parent / "images" / FIRST
        image.write_bytes(BAD[fault](image.read_bytes()))
        folder = tmp_path / "output"
        status, log = runs.attempt(stage, runs.arguments(stage, folder, {name: index}))
        if status == 0 and stage == "index_dataset":
            found = indexed_as_it_is(folder / "index.json", log)
        elif status == 0 and any(
            f"{what}: {image}" in log for what in ("left out", "no thumbnail")
        ):
            found = "left out by name"
        else:
            found = outcome(stage, status, log, folder, expected)
        table.note(fault, stage, found)


def indexed_as_it_is(index: Path, log: str) -> str:
    """A photograph that cannot be decoded is listed as skipped; another one is what it is."""
    content = read_json(index)
    skipped = [entry["file_name"] for entry in content["info"]["skipped"]]
    assert (FIRST in skipped) != (FIRST in [image["file_name"] for image in content["images"]])
    return "left out by name" if skipped else "same result"


def test_odd_names_of_files_and_folders(runs, table, stage, tmp_path):
    """Images, the folders of in- and output: all as they may be called, with the same result."""
    expected = runs.output(stage).parent
    for name in scenes_of(stage):
        index = copy_dataset(runs, name, tmp_path / FOLDER / "in")
        rename_images(index)
        # Stand-ins, as the command lines of `STAGES` are split at blanks.
        arguments = runs.arguments(stage, Path("OUT"), {name: Path("IN")})
        folder = tmp_path / FOLDER / "out"
        words = [place_in(word, index, folder) for word in arguments]
        status, log = runs.attempt(stage, words)
        assert status == 0, log
        found, wanted = meanings(folder), meanings(expected)
        assert len(found) == len(wanted)
        # These show or hold the names.
        shows = ("draw_boxes", "cluster_boxes", "list_groundings", "describe_regions")
        shows += ("draw_box_page",)
        if stage not in ("index_dataset", "pool_indexes", *shows):
            assert found == wanted
        elif stage != "draw_box_page":  # whose thumbnails are called as the photographs
            assert found.keys() == wanted.keys()
        table.note("blanks, newlines, quotes and Unicode in names", stage, "same result")


def rename_images(index: Path) -> None:
    """Give the first images of a dataset the names of `NAMES`."""
    content = read_json(index)
    folder = index.parent / "images"
    for image, odd in zip(content["images"], NAMES, strict=False):
        (folder / image["file_name"]).rename(folder / odd)
        image["file_name"] = odd
    write_json(index, content)


def place_in(word: str, index: Path, folder: Path) -> str:
    """A word of a command line with the real paths."""
    if word == f"{Path('IN').parent}/images":
        return str(index.parent / "images")
    return str(index) if word == "IN" else word.replace("OUT", str(folder))
