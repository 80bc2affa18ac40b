"""Scores of metrics files and of the paper, as tables take them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..storage.metrics_json import read_metrics
from .paper_tables import NOT_REFINED, Layout
from .tables import Score, read_long_form


def read_scores(
    paths: Iterable[Path], layout: Layout | None = None, ablations: Iterable[str] | None = None
) -> list[Score]:
    """What metrics files have for a table of this layout, with the label `metric`.

    Args:
        layout: None for the score of each file alone.
        ablations: `variant=name` texts, the rows of Table 6 in their order; variants that are
            trained alike are one, which has several names.

    Raises:
        InputError: a file is no metrics file, is of a metric that this table does not have, or of a
            variant that is not named.
    """
    measures = {} if layout is None else layout.measures
    scores = [score for path in paths for score in _scores_of(path, measures)]
    return scores if ablations is None else list(_with_ablations(scores, _names(ablations)))


def read_published(path: Path | str) -> list[Score]:
    """The paper's numbers in long form: one label per column, and the column `value`.

    Raises:
        InputError: not such a file.
    """
    frame = read_long_form(path, {"value": float}, "a table of published numbers")
    values = frame.pop("value")
    return [
        Score(labels, value, str(path))
        for labels, value in zip(frame.to_dict("records"), values, strict=True)
    ]


def _scores_of(path: Path, measures: Mapping[str, Mapping[str, str]]) -> Iterator[Score]:
    content = read_metrics(path)
    metric = content.get("metric", content["task"])
    if measures and metric not in measures:
        raise InputError(
            f"{path}: metric is {metric}, and this table is of {' and '.join(measures)}"
        )
    for name, key in measures.get(metric, {metric: "score"}).items():
        if key not in content:
            raise InputError(f"{path}: holds no {key}; evaluate again")
        yield Score({**content["labels"], "metric": name}, content[key], str(path), content)


def _names(pairs: Iterable[str]) -> dict[str, list[str]]:
    """The names of each variant."""
    names: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        variant, equals, name = pair.partition("=")
        if not variant or not equals or not name:
            raise InputError(f"--ablations {pair}: not of the form variant=name")
        names[variant].append(name)
    return names


def _with_ablations(scores: list[Score], names: dict[str, list[str]]) -> Iterator[Score]:
    """The scores with the label `ablation`, in the order of the rows; those of f come last."""
    for variant, rows in names.items():
        for score in scores:
            if score.labels.get("variant") == variant:
                for row in rows:
                    yield replace(score, labels={**score.labels, "ablation": row})
    for score in scores:
        trained = score.labels.get("variant")
        if trained is None:
            yield replace(score, labels={**score.labels, "ablation": NOT_REFINED})
        elif trained not in names:
            raise InputError(f"{score.source}: variant {trained} is not named in --ablations")
