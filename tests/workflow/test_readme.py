"""README stays short, and names only files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]


def test_it_can_be_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 150


def test_it_has_one_table_of_results() -> None:
    assert README.count("<!-- results -->") == README.count("<!-- /results -->") == 1


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    missing = [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()]
    # Made when the site is built.
    assert [target for target in missing if target != "configuration.md"] == []


def test_code_cites_sections_that_the_protocol_has() -> None:
    headings = re.findall(
        r"^#+ (.+)$", (ROOT / "docs/protocol.md").read_text("utf-8"), re.MULTILINE
    )
    anchors = {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }
    anchors = {re.sub(r"-+", "-", anchor) for anchor in anchors}
    files = [
        *ROOT.glob("stages/**/*.py"),
        *ROOT.glob("workflow/**/*.py"),
        *ROOT.glob("tests/**/*.py"),
    ]
    cited = {
        anchor
        for file in files
        for anchor in re.findall(r"docs/protocol\.md#([\w-]+)", file.read_text("utf-8"))
    }
    assert cited - anchors - {"section"} == set()
