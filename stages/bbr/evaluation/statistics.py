"""How sure a score is: bootstrap intervals, paired tests, and means across seeds.

scipy.stats takes a second to import, so it is imported where it is used: evaluation needs none of
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 0


@dataclass(frozen=True)
class PairedComparison:
    """A candidate against a baseline on the same images.

    Attributes:
        difference: mean outcome of the candidate less that of the baseline.
        interval: its bootstrap 95 % interval, images resampled in pairs.
        fixed: images that only the candidate gets right.
        broken: images that only the baseline gets right.
        p_value: McNemar's exact test of `fixed` against `broken`; where outcomes are grouped, the
            sign-flip test of whole groups.
    """

    difference: float
    interval: tuple[float, float]
    fixed: int
    broken: int
    p_value: float


def bootstrap_interval(
    outcomes: Sequence[float] | np.ndarray,
    seed: int = SEED,
    resamples: int = RESAMPLES,
    groups: Sequence[int] | np.ndarray | None = None,
) -> tuple[float, float]:
    """The percentile bootstrap 95 % interval of a mean (Efron and Tibshirani 1993, chapter 13).

    Drawing n images with replacement and counting how often each distinct outcome occurs is one
    multinomial draw, so the cost depends on the number of distinct outcomes (two for CorLoc), not
    on the number of images. Outcomes of one group are drawn together: phrases of one image are not
    independent of each other.

    Args:
        outcomes: (n,) one value per image or phrase, n at least 1.
        seed: of the resampling.
        resamples: how many means are drawn.
        groups: (n,) the group of each outcome; None where each is its own.
    """
    values = np.asarray(outcomes, dtype=np.float64)
    numbers = (
        np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    )
    sums_and_sizes = np.stack((np.bincount(numbers, values), np.bincount(numbers)), axis=1)
    distinct, counts = np.unique(sums_and_sizes, axis=0, return_counts=True)
    n = counts.sum()
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    sums, sizes = (drawn @ distinct).T
    low, high = np.quantile(sums / sizes, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def compare_paired(
    baseline: np.ndarray,
    candidate: np.ndarray,
    groups: np.ndarray | None = None,
    seed: int = SEED,
) -> PairedComparison:
    """Compare 0/1 outcomes of the same images or phrases, in the same order.

    Args:
        baseline: (n,) 0 or 1 each, n at least 1.
        candidate: (n,) likewise.
        groups: (n,) what is resampled together, as `bootstrap_interval` has it.
        seed: of the bootstrap.
    """
    change = np.asarray(candidate, dtype=np.int64) - np.asarray(baseline, dtype=np.int64)
    fixed, broken = int((change > 0).sum()), int((change < 0).sum())
    sums = None
    if groups is not None and len(np.unique(groups)) < len(change):
        sums = np.bincount(np.unique(groups, return_inverse=True)[1], change)
    return PairedComparison(
        difference=float(change.mean()),
        interval=bootstrap_interval(change, seed, groups=groups),
        fixed=fixed,
        broken=broken,
        p_value=mcnemar(fixed, broken) if sums is None else flip_signs(sums, seed),
    )


def mcnemar(fixed: int, broken: int) -> float:
    """McNemar's exact two-sided p-value from the two discordant counts.

    Under the null hypothesis an image that changes is as likely to be fixed as broken.
    """
    if fixed + broken == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(fixed, fixed + broken, 0.5).pvalue)


def flip_signs(sums: np.ndarray, seed: int = SEED, resamples: int = RESAMPLES) -> float:
    """The sign-flip test's two-sided p-value that groups gain as much as they lose.

    Under the null hypothesis each group's gain is as likely to be a loss of that size (Good 2005,
    Permutation, Parametric and Bootstrap Tests of Hypotheses). With groups of one it is McNemar's
    test, but for the resampling.

    Args:
        sums: (n,) what each group gains, whole numbers.
        seed: of the random signs.
        resamples: how many draws of all signs; the p-value is at least 1 / (resamples + 1).
    """
    sizes, counts = np.unique(np.abs(sums), return_counts=True)
    positive = np.random.default_rng(seed).binomial(counts, 0.5, (resamples, len(counts)))
    totals = (2 * positive - counts) @ sizes
    extreme = np.count_nonzero(np.abs(totals) >= abs(sums.sum()))
    return (extreme + 1) / (resamples + 1)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1) across seeds; NaN deviation for one seed."""
    deviation = np.std(values, ddof=1) if len(values) > 1 else math.nan
    return float(np.mean(values)), float(deviation)


def seed_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's t 95 % interval of the mean across seeds; NaN for one seed."""
    from scipy.stats import t

    mean, deviation = mean_and_deviation(values)
    half = t.ppf((1 + LEVEL) / 2, len(values) - 1) * deviation / math.sqrt(len(values))
    return float(mean - half), float(mean + half)
