"""The page of descriptions, in a real browser, and the list; both through their command lines."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path

import browser
import draw_descriptions
import export_results
import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import command

from bbr.grounding.heatmaps_h5 import create_heatmaps
from bbr.storage.boxes_json import write_boxes

NAMES = ("first.png", "<img src=x onerror=alert(1)>.png", "empty.png")
CAPTIONS = {1: ["a red mug", '<b>a</b> & "b"'], 2: ["a blue disc"], 3: []}
SIZES = {1: (60, 90), 2: (40, 40), 3: (20, 30)}  # height, width


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, of which the last has no caption, and one caption has no box."""
    folder = tmp_path_factory.mktemp("page")
    images = []
    for number, name in enumerate(NAMES, 1):
        height, width = SIZES[number]
        Image.new("RGB", (width, height), (90, 120, 40)).save(folder / name)
        images.append(
            {
                "id": number,
                "file_name": name,
                "width": width,
                "height": height,
                "phrases": CAPTIONS[number],
                "regions": [[[0, 0, 9, 9]] * (i + 1) for i in range(len(CAPTIONS[number]))],
            }
        )
    (folder / "descriptions.json").write_text(json.dumps({"images": images}))
    with create_heatmaps(folder / "maps.h5", size=(8, 8), provenance={}) as file:
        for image_id, captions in CAPTIONS.items():
            for i in range(1, len(captions) + 1):
                heatmap = torch.zeros(8, 8)
                heatmap[:, : 4 * i] = 1
                file.append(image_id, i, heatmap)
    records = [
        {"image_id": 1, "phrase_id": 1, "bbox": [9, 6, 30, 20], "score": 0.75},
        {"image_id": 1, "phrase_id": 1, "bbox": [60, 40, 20, 10], "score": 0.5},
        {"image_id": 2, "phrase_id": 1, "bbox": [1, 2, 3, 4], "score": 0.25},
    ]
    write_boxes(folder / "boxes.json", records, {})
    assert draw(folder, folder / "page.html") == 0
    return folder


def draw(folder: Path, output: Path, **changes: object) -> int:
    options = {
        "descriptions": folder / "descriptions.json",
        "heatmaps": folder / "maps.h5",
        "boxes": folder / "boxes.json",
    } | changes
    return draw_descriptions.main([*command(**options), "--output", str(output)])


def test_the_list(made: Path, tmp_path: Path) -> None:
    options = command(
        index=made / "descriptions.json",
        boxes=made / "boxes.json",
        output=tmp_path / "list.json",
    )
    assert export_results.main(options) == 0
    listed = json.loads((tmp_path / "list.json").read_text())
    assert [(r["image_id"], r["caption"], r["bbox"], r["score"]) for r in listed] == [
        (1, "a red mug", [9, 6, 30, 20], 0.75),
        (1, "a red mug", [60, 40, 20, 10], 0.5),
        (2, "a blue disc", [1, 2, 3, 4], 0.25),
    ]
    assert listed[2]["file_name"] == NAMES[1]
    assert {r["regions"] for r in listed} == {1}


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else(made: Path) -> None:
    tags = Tags((made / "page.html").read_text()).found
    assert {tag for tag, _ in tags}.isdisjoint({"script", "link", "iframe", "b"})
    sources = [a[k] for _, a in tags for k in ("src", "href") if k in a]
    assert len(sources) == 3 + 3  # photographs and heatmaps
    assert all(source.startswith("data:image/") for source in sources)
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    (policy,) = (a["content"] for _, a in tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    alternatives = [a["alt"] for tag, a in tags if tag == "img"]
    assert alternatives == list(NAMES)


def test_the_same_bytes_again(made: Path, tmp_path: Path) -> None:
    assert draw(made, tmp_path / "page.html") == 0
    assert (tmp_path / "page.html").read_bytes() == (made / "page.html").read_bytes()


def test_mistakes_are_told(made: Path, tmp_path: Path, refused: object) -> None:
    options = command(
        descriptions=made / "descriptions.json",
        heatmaps=made / "maps.h5",
        boxes=made / "boxes.json",
    )
    assert "ends in .html" in refused(draw_descriptions, *options, output=tmp_path / "page.htm")
    with create_heatmaps(tmp_path / "few.h5", size=(8, 8), provenance={}) as file:
        file.append(1, 1, torch.zeros(8, 8))
    options[options.index(str(made / "maps.h5"))] = str(tmp_path / "few.h5")
    message = refused(draw_descriptions, *options, output=tmp_path / "page.html")
    assert "no map of caption 2 of image 1" in message


@pytest.fixture
def page(window: browser.Browser, made: Path) -> browser.Browser:
    """The page as it is when it has just been opened, the pointer in a corner."""
    window.open(made / "page.html")
    window.point(0, 0)
    return window


def shown(window: browser.Browser) -> list[str]:
    """The captions whose heatmaps are to be seen."""
    return window.run(
        "return [...document.querySelectorAll('svg.found')]"
        ".filter(s => getComputedStyle(s).visibility === 'visible')"
        ".map(s => s.closest('li').querySelector('span').firstChild.data.trim())"
    )


def place(window: browser.Browser, selector: str, number: int) -> dict[str, float]:
    return window.run(
        "const r = document.querySelectorAll(arguments[0])[arguments[1]].getBoundingClientRect();"
        "return {x: r.x, y: r.y, width: r.width, height: r.height}",
        selector,
        number,
    )


def point_at(window: browser.Browser, selector: str, number: int) -> None:
    scroll = "document.querySelectorAll(arguments[0])[arguments[1]].scrollIntoView()"
    window.run(scroll, selector, number)
    found = place(window, selector, number)
    window.point(found["x"] + found["width"] / 2, found["y"] + found["height"] / 2)


# Labels in their order: first.png's "alone", its two captions, then those of the second image.
ALONE, MUG, BOLD, SECOND_ALONE, DISC = range(5)


def test_nothing_is_shown_at_first(page: browser.Browser) -> None:
    assert shown(page) == []
    assert page.run("return document.images.length") == 3
    assert page.run("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.log() == []  # no error, and nothing that the policy had to stop


def test_text_is_shown_as_it_is(page: browser.Browser) -> None:
    names = page.run("return [...document.querySelectorAll('h2')].map(h => h.textContent)")
    assert names == list(NAMES)
    texts = page.run("return [...document.querySelectorAll('label span')].map(s => s.textContent)")
    assert [text.split("\n")[0] for text in texts][BOLD].startswith(CAPTIONS[1][1])
    assert "30 × 20 pixels at 9, 6 and 1 more, score 0.75, 1 region" in texts[MUG]
    assert "no box, 2 regions" in texts[BOLD]
    assert "No region of this photograph was described." in page.run(
        "return document.body.textContent"
    )


def test_the_caption_under_the_pointer(page: browser.Browser) -> None:
    point_at(page, "label", MUG)
    assert shown(page) == ["a red mug"]
    point_at(page, "label", DISC)
    assert shown(page) == ["a blue disc"]
    page.point(0, 0)
    assert shown(page) == []


def test_from_the_keyboard(page: browser.Browser) -> None:
    page.press(browser.TAB)
    assert shown(page) == []  # the photograph alone has the focus
    page.press(browser.DOWN)
    assert shown(page) == ["a red mug"]
    page.press(browser.DOWN)
    assert shown(page) == [CAPTIONS[1][1]]
    page.press(browser.TAB, browser.DOWN)
    assert shown(page) == [CAPTIONS[1][1], "a blue disc"]  # one of each photograph
    page.press(browser.UP)
    assert shown(page) == [CAPTIONS[1][1]]


def test_the_pointer_goes_before_what_was_chosen(page: browser.Browser) -> None:
    page.press(browser.TAB, browser.DOWN)
    point_at(page, "label", BOLD)
    assert shown(page) == [CAPTIONS[1][1]]
    page.point(0, 0)
    assert shown(page) == ["a red mug"]


@pytest.mark.parametrize("width", [1000, 400])
def test_map_and_box_lie_on_the_photograph(page: browser.Browser, width: int) -> None:
    page.run("document.body.style.width = arguments[0] + 'px'", width)
    photograph, overlay = place(page, ".pair > img", 0), place(page, "svg.found", 0)
    for side in photograph:
        assert overlay[side] == pytest.approx(photograph[side], abs=0.6)
    assert photograph["width"] / photograph["height"] == pytest.approx(90 / 60, rel=0.02)
    # Geometry, without the stroke, which grows the rectangle that the browser tells.
    scale = photograph["width"] / 90
    box = page.run(
        "const r = document.querySelector('svg.found rect'), m = r.getScreenCTM(), b = r.getBBox();"
        "return [m.e + b.x * m.a, m.f + b.y * m.d, b.width * m.a, b.height * m.d]"
    )
    expected = [photograph["x"] + 9 * scale, photograph["y"] + 6 * scale, 30 * scale, 20 * scale]
    assert box == pytest.approx(expected, abs=1)


def test_what_is_seen_changes_where_the_map_is_hot(page: browser.Browser) -> None:
    """The left half of the map is hot: on the screen it becomes yellow, the right half dark."""

    def pixels() -> np.ndarray:
        image = Image.open(io.BytesIO(page.screenshot()))
        return np.asarray(image.convert("RGB")).astype(int)

    before = pixels()
    point_at(page, "label", MUG)
    after = pixels()
    photograph = place(page, ".pair > img", 0)
    row = int(photograph["y"] + photograph["height"] * 0.9)
    left = int(photograph["x"] + photograph["width"] * 0.2)
    right = int(photograph["x"] + photograph["width"] * 0.55)
    assert (after[row, left] - before[row, left]).min() >= -60
    assert after[row, left].sum() > before[row, left].sum()
    assert after[row, right].sum() < before[row, right].sum()
