"""Which labels make the rows and columns of each of the paper's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

Key = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """How scores make one of the paper's tables.

    Attributes:
        rows: the labels that tell rows apart.
        columns: the labels that tell columns apart.
        heading: the head of the first column.
        name_row: the text of the first column, from the values of `rows`.
        caption: what the numbers are.
        main: the `output` label of a cell's main number.
        bracketed: the `output` label of the number in brackets.
        fixed: labels that every score of this table has, and their values.
        last_rows: rows that come after all others, such as controls.
        decimals: of every number.
        shared: a label whose value ANY stands for every value of the other scores: what no
            training set changes is in the columns of all of them.
        measures: by the metric of a file, the columns that are made from it and where it has their
            numbers; of all others the score is taken, in a column of the metric's name.
        before: the row that a row is to be better than, from the values of `rows`: of f for f^h, of
            g for g^h; None for other rows.
    """

    rows: Key
    columns: Key
    heading: str
    name_row: Callable[[Key], str]
    caption: str
    main: str = "map"
    bracketed: str = "h"
    fixed: Mapping[str, str] = field(default_factory=dict)
    last_rows: tuple[Key, ...] = ()
    decimals: int = 1
    shared: str = ""
    measures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    before: Callable[[Key], Key | None] = lambda row: None

    @property
    def defaults(self) -> Mapping[str, str]:
        """Values of labels that may be left out."""
        return {"cad": "no", "output": self.main, "seed": ""}


ANY = "any"
NOT_REFINED = "f, not refined"  # the row of table 6 that the gains start from


def name_discovery_row(row: Key) -> str:
    """A method, with CAD or without: `row` is (method, yes or no)."""
    method, cad = row
    return f"{method} + CAD" if cad == "yes" else method


def _before_discovery_row(row: Key) -> Key | None:
    method, cad = row
    refined = method.startswith("Ours (") and method.endswith(")")
    return (method[len("Ours (") : -1], cad) if refined else None


def _before_method(place: int) -> Callable[[Key], Key | None]:
    """For rows whose method, at this place among their labels, is WWbL before and Ours after."""

    def before(row: Key) -> Key | None:
        return (*row[:place], "WWbL", *row[place + 1 :]) if row[place] == "Ours" else None

    return before


def _name_grounding_row(row: Key) -> str:
    method, backbone = row
    return method if backbone in ("", method) else f"{method} ({backbone})"


LAYOUTS = {
    "4": Layout(
        rows=("method", "cad"),
        columns=("dataset",),
        heading="model",
        name_row=name_discovery_row,
        main="method",
        fixed={"metric": "corloc"},
        last_rows=(("Centre box", "no"), ("Whole image", "no"), ("LOST, random-init f", "no")),
        caption="CorLoc in percent; in brackets that of the boxes of h. "
        "Several seeds: mean ± standard deviation.",
        before=_before_discovery_row,
    ),
    "6": Layout(
        rows=("ablation",),
        columns=("heuristic", "dataset"),
        heading="ablation",
        name_row=" ".join,
        main="method",
        fixed={"metric": "corloc"},
        last_rows=((NOT_REFINED,),),
        caption="CorLoc in percent of f^h, by heuristic and dataset. "
        "Several seeds: mean ± standard deviation.",
        decimals=2,
    ),
    "1": Layout(
        rows=("method", "backbone"),
        columns=("train", "test"),
        heading="model",
        name_row=_name_grounding_row,
        fixed={"metric": "pointing_game"},
        caption="Pointing game in percent, by training set and test set. Methods that are not "
        "trained have the same number for each training set. Several seeds: mean ± standard "
        "deviation.",
        decimals=2,
        shared="train",
        before=_before_method(0),
    ),
    "2": Layout(
        rows=("train", "method"),
        columns=("test",),
        heading="training set, model",
        name_row=", ".join,
        fixed={"metric": "bbox_accuracy"},
        caption="Bounding box accuracy in percent, by test set; in brackets that of the boxes of "
        "h. Several seeds: mean ± standard deviation.",
        decimals=2,
        shared="train",
        before=_before_method(1),
    ),
    "3": Layout(
        rows=("train", "method"),
        columns=("metric", "test"),
        heading="training set, model",
        name_row=", ".join,
        caption='"What is where by looking": pointing game and bounding box accuracy in percent of '
        "captions that were found without a question, by test set. Several seeds: mean ± standard "
        "deviation.",
        decimals=2,
        shared="train",
        before=_before_method(1),
    ),
    "5": Layout(
        rows=("ablation",),
        columns=("metric", "test"),
        heading="ablation",
        name_row=" ".join,
        caption="Pointing game and bounding box accuracy in percent of g^h, by test set. Several "
        "seeds: mean ± standard deviation.",
        decimals=2,
    ),
}
LAYOUTS["masks"] = replace(
    LAYOUTS["4"],
    columns=("metric", "dataset"),
    fixed={},
    caption="Masks in percent: mean IoU of the best mask of each image with the object that it "
    "covers most, and AP50 of all masks. Several seeds: mean ± standard deviation.",
    before=lambda row: None,  # neither is the mean of right and wrong images
)
LAYOUTS["average_precision"] = replace(
    LAYOUTS["4"],
    columns=("metric", "dataset"),
    fixed={},
    measures={"corloc": {"CorLoc": "score"}, "ap": {"AP50": "score", "AP": "ap", "AR100": "ar100"}},
    caption="In percent: CorLoc of the best box of each image; and of all its boxes, up to 100 and "
    "whatever their class, COCO's average precision at IoU 0.5 (AP50) and over IoU 0.5 to 0.95 "
    "(AP), and average recall over the same (AR100). In brackets those of the boxes of h. Several "
    "seeds: mean ± standard deviation.",
    before=lambda row: None,  # the outcomes of single images are not what is averaged
)
