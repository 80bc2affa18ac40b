"""What is there of a dataset, beside what is expected of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..data.readers.layouts import read_layout
from ..data.readers.listing import Listing
from ..errors import InputError

COUNTS = ("images", "boxes", "phrases")
_PATHS = ("source", "annotations", "captions", "image_data", "image_list", "phrases")
_OPTIONS = (*_PATHS[1:], "image_set", "round_boxes")


def check_dataset(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Count a dataset; photographs are looked for, but not opened.

    Args:
        dataset: its section of the configuration.

    Returns:
        `images` that are there, `boxes` and `phrases` of those listed, and `missing`: what is not
        there, in words, or "".
    """
    options = {key: dataset[key] for key in _OPTIONS if key in dataset}
    options |= {key: Path(options[key]).expanduser() for key in _PATHS if key in options}
    try:
        listing = read_layout(dataset["format"], Path(dataset["source"]).expanduser(), **options)
    except InputError as error:
        return {"images": 0, "boxes": 0, "phrases": 0, "missing": _with_rule(error, dataset)}
    absent = [i for i in listing.images if not (listing.root / i["file_name"]).is_file()]
    missing = ""
    if absent:
        first = listing.root / absent[0]["file_name"]
        missing = f"{len(absent):,} photographs, such as {first}"
    return {
        "images": len(listing.images) - len(absent),
        "boxes": _count_boxes(listing),
        "phrases": _count_phrases(listing),
        "missing": missing,
    }


def _with_rule(error: InputError, dataset: Mapping[str, Any]) -> str:
    fetched = dataset.get("fetch") or ()
    return (
        f"{error}; snakemake {' '.join(f'fetch_{f}' for f in fetched)}" if fetched else str(error)
    )


def _count_boxes(listing: Listing) -> int:
    """Boxes that several phrases share count once."""
    with_phrases = [a for a in listing.annotations if "phrase_id" in a]
    shared = {(a["image_id"], *a["bbox"]) for a in with_phrases}
    return len(listing.annotations) - len(with_phrases) + len(shared)


def _count_phrases(listing: Listing) -> int:
    words = {
        (a["image_id"], a["phrase_id"]): len(a["phrases"])
        for a in listing.annotations
        if "phrase_id" in a
    }
    return sum(words.values())


def table_of(
    datasets: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]]
) -> str:
    """Each dataset in a row: what was found, and in brackets what is expected where it differs."""
    rows = []
    for name, dataset in datasets.items():
        expected = dataset.get("expected", {})
        cells = [_cell(found[name][what], expected.get(what)) for what in COUNTS]
        rows.append([name, *cells, found[name]["missing"] or "nothing"])
    header = ("dataset", *COUNTS, "missing")
    return tabulate(rows, header, tablefmt="github", colalign=("left", *["right"] * 3, "left"))


def _cell(found: int, expected: int | None) -> str:
    if expected is None or expected == found:
        return f"{found:,}"
    return f"{found:,} ({expected:,})"
