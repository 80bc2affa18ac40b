"""The page of boxes: its order, what it says, and that names are no markup."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from bbr.reporting.box_page import Listed, box_page

ODD = '<script>alert(1)</script> & "it\'s" #1?%.jpg'


def listed(name: str, *scores: float, before: tuple[float, ...] | None = None) -> Listed:
    """A photograph of 60 × 90 pixels whose boxes have these scores."""
    boxes = [[{"image_id": 1, "bbox": [9, 6, 30, 20], "score": score} for score in scores]]
    if before is not None:
        boxes.insert(0, [{"image_id": 1, "bbox": [0, 0, 5, 5], "score": s} for s in before])
    return Listed(name, f"../photos/{name}", (60, 90), "thumbnails/1.jpg", boxes)


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of some."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"a": [], "figcaption": [], "li": [], "script": []}
        self._in: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._in.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._in:
            self.texts[self._in[-1]][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every tag of a kind."""
        return [attributes for name, attributes in self.found if name == tag]


def test_the_least_certain_come_first_and_those_without_a_box_before_them() -> None:
    photographs = [
        listed("sure.jpg", 0.9, 0.1),
        listed("none.jpg"),
        listed("unsure.jpg", 0.2),
        listed("same.jpg", 0.2),
        listed("zero.jpg", 0.0),
    ]
    page = Tags(box_page(photographs, ["TokenCut"], "Boxes"))
    expected = ["none.jpg", "zero.jpg", "unsure.jpg", "same.jpg", "sure.jpg"]
    assert page.texts["a"] == expected
    assert page.texts["figcaption"] == [
        "TokenCut: no box",
        "TokenCut: score 0.00, 30 × 20 pixels at 9, 6",
        *["TokenCut: score 0.20, 30 × 20 pixels at 9, 6"] * 2,
        "TokenCut: score 0.90, 30 × 20 pixels at 9, 6, and 1 more",
    ]
    assert "5 photographs" in page.texts["p"][0]
    assert "1 without a box come first" in page.texts["p"][0]


def test_two_sets_side_by_side_in_the_order_of_the_last() -> None:
    photographs = [listed("a.jpg", 0.5, before=(0.1,)), listed("b.jpg", 0.4, before=(0.9,))]
    page = Tags(box_page(photographs, ["LOST, f", "LOST, f^h"], "Boxes"))
    assert page.texts["a"] == ["b.jpg", "a.jpg"]
    assert [text.split(":")[0] for text in page.texts["figcaption"]] == ["LOST, f", "LOST, f^h"] * 2
    assert len(page.all("img")) == 4
    first, *_ = page.all("rect")
    assert [first[key] for key in ("x", "y", "width", "height")] == ["0", "0", "5", "5"]


def test_thumbnails_are_files_that_are_loaded_when_seen() -> None:
    page = Tags(box_page([listed("a.jpg", 0.5)], ["f"], "Boxes"))
    (image,) = page.all("img")
    assert (image["loading"], image["src"]) == ("lazy", "./thumbnails/1.jpg")
    assert (image["width"], image["height"]) == ("90", "60")  # no jump as it comes
    (drawing,) = page.all("svg")
    assert drawing["viewbox"] == "0 0 90 60"


def test_names_are_text_and_lead_to_their_files() -> None:
    left_out = [{"file_name": f"{ODD}2", "reason": "<b>empty</b>"}]
    content = box_page([listed(ODD, 0.5)], ["<i>f</i>"], "A & <B>", left_out)
    page = Tags(content)
    assert {tag for tag, _ in page.found}.isdisjoint({"i", "b"})
    assert page.texts["a"] == [ODD]
    assert page.texts["title"] == ["A & <B>"]
    assert page.texts["li"][-1] == f"{ODD}2: <b>empty</b>"
    (link,) = page.all("a")
    assert link["href"] == (
        "../photos/%3Cscript%3Ealert%281%29%3C/script%3E%20%26%20%22it%27s%22%20%231%3F%25.jpg"
    )


def test_a_name_that_is_no_text() -> None:
    content = box_page([listed("caf\udce9.jpg", 0.5)], ["f"], "Boxes")
    assert b"caf%E9.jpg" in content
    assert "caf?.jpg" in content.decode()


def test_the_page_runs_its_own_script_and_no_other() -> None:
    page = Tags(box_page([listed(ODD, 0.5)], ["f"], "Boxes"))
    (policy,) = (a["content"] for a in page.all("meta") if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src 'self' file:;")
    (script,) = page.texts["script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)


def test_a_photograph_that_cannot_be_read_is_listed_all_the_same() -> None:
    gone = Listed("gone.jpg", "gone.jpg", (60, 90), None, [[]])
    content = box_page([gone], ["f"], "Boxes").decode()
    assert "<img" not in content
    assert "The photograph cannot be read." in content


def test_nothing_at_all() -> None:
    assert re.search(r"0 photographs", box_page([], ["f"], "Boxes").decode())


def test_large_folders_make_small_pages() -> None:
    """1,000 photographs: less than a kilobyte and a half each."""
    content = box_page([listed(f"{i}.jpg", i / 1000) for i in range(1000)], ["f"], "Boxes")
    assert len(content) < 1_500_000
