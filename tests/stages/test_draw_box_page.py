"""draw_box_page.py on the command line, and its page in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import browser
import draw_box_page
import numpy as np
import pytest
from PIL import Image

from bbr.storage.boxes_json import write_boxes

NAMES = ("sure.png", "<img src=x onerror=alert(1)> #1.png", "none.png", "gone.png")
# By id: of the first 0.75, of the second 0.25 and 0.5.
BOXES = [
    {"image_id": 1, "bbox": [9, 6, 30, 20], "score": 0.75},
    {"image_id": 2, "bbox": [1, 2, 3, 4], "score": 0.25},
    {"image_id": 2, "bbox": [10, 20, 30, 10], "score": 0.5},
]


def draw(folder: Path, *options: object, output: str = "page.html") -> int:
    arguments = ["--index", folder / "index.json", "--thumbnails", folder / "small"]
    arguments += ["--output", folder / output, *options]
    return draw_box_page.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photographs, of which one has no box, and one is gone."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "photos").mkdir()
    images = []
    for number, name in enumerate(NAMES, 1):
        Image.new("RGB", (90 * number, 60), (90, 120, 40)).save(folder / "photos" / name)
        size = {"width": 90 * number, "height": 60}
        images.append({"id": number, "file_name": name, **size})
    (folder / "photos/gone.png").unlink()
    skipped = [{"file_name": "bad.jpg", "reason": "empty file"}]
    info = {"image_root": "photos", "skipped": skipped}
    (folder / "index.json").write_text(json.dumps({"images": images, "info": info}))
    write_boxes(folder / "boxes.json", BOXES, {})
    write_boxes(folder / "before.json", BOXES[:1], {})
    both = ("--boxes", folder / "before.json", folder / "boxes.json")
    assert draw(folder, *both, "--names", "LOST, f", "LOST, f^h", "--thumbnail-side", 100) == 0
    return folder


def test_thumbnails(made: Path) -> None:
    assert sorted(path.name for path in (made / "small").iterdir()) == ["1.jpg", "2.jpg", "3.jpg"]
    sizes = [Image.open(made / f"small/{i}.jpg").size for i in (1, 2, 3)]
    assert sizes == [(90, 60), (100, 33), (100, 22)]


def test_the_same_bytes_again(made: Path) -> None:
    before = {path: path.read_bytes() for path in [made / "page.html", *made.glob("small/*")]}
    both = ("--boxes", made / "before.json", made / "boxes.json")
    assert draw(made, *both, "--names", "LOST, f", "LOST, f^h", "--thumbnail-side", 100) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_mistakes_are_told(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = ("--boxes", made / "boxes.json")
    assert draw(made, *boxes, output="page.htm") == 1
    assert "ends in .html" in capsys.readouterr().err
    assert draw(made, *boxes, "--names", "a", "b", output="other.html") == 1
    assert "1 --boxes and 2 --names" in capsys.readouterr().err
    assert not (made / "other.html").exists()


@pytest.fixture
def page(window: browser.Browser, made: Path) -> browser.Browser:
    window.open(made / "page.html")
    return window


def focused(window: browser.Browser) -> str:
    return window.run("return document.activeElement.textContent")


# From the least certain: without a box in the order of the index, then 0.5, then 0.75.
ORDER = [NAMES[2], NAMES[3], NAMES[1], NAMES[0]]


def test_in_a_browser(page: browser.Browser) -> None:
    assert page.run("return [...document.querySelectorAll('h2 a')].map(a => a.textContent)") == (
        ORDER
    )
    for _ in ORDER:
        page.press("j")  # into sight, where they are loaded
    page.run("return Promise.all([...document.images].map(i => i.decode()))")
    assert page.run("return [...document.images].map(i => i.naturalWidth)") == [
        100,
        100,
        100,
        100,
        90,
        90,
    ]
    assert page.log() == []  # no error, and nothing that the policy had to stop
    assert page.run("return document.querySelector('ul li').textContent") == "bad.jpg: empty file"


@pytest.mark.parametrize(("on", "back"), [("j", "k"), (browser.DOWN, browser.UP)])
def test_from_the_keyboard(page: browser.Browser, on: str, back: str) -> None:
    found = []
    for key in (on, on, on, on, on, back):
        page.press(key)
        found.append(focused(page))
    assert found == [*ORDER, ORDER[3], ORDER[2]]
    middle = page.run(
        "const r = document.activeElement.closest('li').getBoundingClientRect();"
        "return [r.top, r.bottom, innerHeight]"
    )
    assert -1 <= middle[0] < middle[1] <= middle[2] + 1


def test_tab_goes_there_too(page: browser.Browser) -> None:
    page.press(browser.TAB)
    assert focused(page) == ORDER[0]


def test_links_lead_to_the_photographs(page: browser.Browser, made: Path) -> None:
    addresses = page.run("return [...document.querySelectorAll('h2 a')].map(a => a.href)")
    assert addresses == [(made / "photos" / name).as_uri() for name in ORDER]


def test_the_box_lies_where_it_is(page: browser.Browser) -> None:
    """The last picture: sure.png by f^h, 90 × 60 pixels."""
    page.press("j", "j", "j", "j")
    places = page.run(
        "const s = [...document.querySelectorAll('.picture')].at(-1);"
        "const i = s.querySelector('img').getBoundingClientRect();"
        "const r = s.querySelector('rect'), m = r.getScreenCTM(), b = r.getBBox();"
        "return [m.e + b.x * m.a - i.x, m.f + b.y * m.d - i.y, b.width * m.a, b.height * m.d,"
        " i.width / 90]"
    )
    scale = places.pop()
    assert np.allclose(places, np.array([9, 6, 30, 20]) * scale, atol=1)
